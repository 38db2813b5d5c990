#include "volume_head.h"

#include <errno.h>

#include "cleanup.h"
#include "frame.h"
#include "proto.h"
#include "proto_workload.h"
#include "target.h"
#include "tlv.h"

void volume_head_put(struct buf *out, const char *target, uint64_t stream)
{
	auto_buf struct buf body = BUF_INIT(VOLUME_HEAD_MAX);

	tlv_put_str(&body, TAG_NAME, target);
	tlv_put_u64(&body, TAG_STREAM, stream);
	frame_put(out, MSG_VOLUME_STREAM, 0, body.data, body.len);
}

/* Nothing behind the head may be read: it belongs to the stream. */
size_t volume_head_missing(const uint8_t *data, size_t len)
{
	size_t whole = FRAME_HEAD_SIZE;

	if (len >= FRAME_HEAD_SIZE)
		whole += load_le32(data);
	return whole > len ? whole - len : 0;
}

int volume_head_get(const uint8_t *data, size_t len, char **ret_target, unsigned int *ret_stream,
		    struct err *err)
{
	auto_free char *target = NULL;
	struct frame f = {0};
	size_t used = 0;
	uint64_t stream = 0;
	int r = frame_get(data, len, VOLUME_HEAD_MAX, &f, &used, err);

	if (r == 0 || (r > 0 && f.type != MSG_VOLUME_STREAM))
		r = err_set(err, ERR_GUEST, -EBADMSG, "not the head of a volume's stream");
	if (r > 0)
		r = proto_find_str(f.body, f.len, TAG_NAME, TARGET_MAX, &target, err);
	if (r == 0)
		r = err_set(err, ERR_GUEST, -EBADMSG, "a stream of no volume");
	if (r > 0)
		r = proto_find_u64(f.body, f.len, TAG_STREAM, 0, &stream, err);
	if (r < 0)
		return r;
	if (stream >= VOLUME_STREAMS_MAX)
		return err_set(err, ERR_GUEST, -EBADMSG, "stream %llu of a volume",
			       (unsigned long long)stream);
	*ret_target = TAKE_PTR(target);
	*ret_stream = (unsigned int)stream;
	return 0;
}

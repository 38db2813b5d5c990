/* fp_saved.h - what of a volume goes into a planned snapshot beside its state: the locks the guest
 * holds, and the content of files that it has open and that have no name any more. In one file, of
 * the host's user alone. A clone's server takes the locks again and gives the files a content of
 * their own, on the volume's file system and without a name: nothing is left of them when the
 * server ends, however it ends. */
#ifndef FCVM_FUSE_PIPE_FP_SAVED_H
#define FCVM_FUSE_PIPE_FP_SAVED_H

#include "err.h"
#include "fp_volume.h"

#define FP_SAVED_FILES_MAX 4096u
#define FP_SAVED_BYTES_MAX (256ull << 20) /* data of all of them; what is beyond is not saved */
#define FP_SAVED_SIZE_MAX (1ll << 40)     /* of one, holes included */

/* Nothing of the volume may run. fd is empty, and stays so when there is nothing to save. */
int fp_saved_write(struct fp_volume *v, int fd, struct err *err);
/* After the records of the mount it belongs to. What cannot be had again is as if it were not
 * there: the file is ESTALE; the open file whose lock others have now is EIO (fp_file.h). An error
 * when fd is not what fp_saved_write() left. */
int fp_saved_take(struct fp_volume *v, int fd, struct err *err);

#endif

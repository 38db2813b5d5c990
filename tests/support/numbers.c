/* numbers.c - uids and gids that VMs of a test's directory still have: they are counted for the
 * whole host (ledger.h), and would stay there until somebody looks for owners that are gone. */
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "ledger.h"
#include "run.h"
#include "xalloc.h"

/* Lines are "NUMBER OWNER". */
static void add_owners(const struct host *host, const char *kind, const char *dir, struct strv *ret)
{
	auto_free char *path = path_join(host->ids_dir, kind);
	auto_free char *below = xasprintf("%s/", dir);
	auto_buf struct buf text = BUF_INIT(16u << 20);
	char *save = NULL;

	if (file_read(path, text.max - 1, &text, NULL) < 0 || text.len == 0)
		return;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *owner = strchr(line, ' ');

		if (owner && strncmp(owner + 1, below, strlen(below)) == 0)
			strv_add(ret, owner + 1);
	}
}

static size_t look(const char *dir, bool give_back)
{
	static const char *const kinds[] = {"uid", "gid"};
	struct host host = {0};
	size_t n = 0;

	if (geteuid() != 0 || host_init(&host, dir, NULL) < 0)
		return 0;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		auto_strv struct strv owners = {0};

		add_owners(&host, kinds[k], dir, &owners);
		n += owners.n;
		for (size_t i = 0; give_back && i < owners.n; i++)
			(void)ledger_release(&host, kinds[k], owners.v[i], NULL);
	}
	host_free(&host);
	return n;
}

size_t numbers_held(const char *dir)
{
	return look(dir, false);
}

void numbers_give_back(const char *dir)
{
	(void)look(dir, true);
}

#include "fc_metrics.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "run.h"

struct rig {
	char *dir, *path;
	struct loop *loop;
	struct fc_metrics m;
	int theirs;
};

static void rig_up(struct rig *r)
{
	*r = (struct rig){.dir = tmpdir_new("metrics"), .m = {.fd = -1}, .theirs = -1};
	r->path = path_join(r->dir, "metrics.json");
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	cr_assert_eq(fc_metrics_open(&r->m, r->path, NULL, &r->theirs, NULL), 0);
	cr_assert_eq(fc_metrics_watch(&r->m, r->loop, NULL), 0);
}

static void rig_down(struct rig *r)
{
	fc_metrics_close(&r->m);
	cleanup_close_p(&r->theirs);
	loop_free_p(&r->loop);
	free(r->path);
	tmpdir_remove(&r->dir);
}

static void say(struct rig *r, const char *text)
{
	cr_assert_eq(io_write_full(r->theirs, text, strlen(text), 0, NULL), 0);
	cr_assert_geq(loop_once(r->loop, 1000, NULL), 0);
}

static uint64_t kept(const struct rig *r)
{
	auto_json struct json_object *o = NULL;

	return json_load(r->path, &o, NULL) < 0 ? 0 : json_opt_u64(o, "n", 0);
}

Test(fc_metrics, the_newest_whole_line_is_kept)
{
	struct rig r;

	rig_up(&r);
	say(&r, "{\"n\":1}\n{\"n\"");
	cr_expect_eq(kept(&r), 1);
	r.m.saved_ms = 0;
	say(&r, ":2}\n{\"n\":3}\n{\"n\":4");
	cr_expect_eq(kept(&r), 3);
	say(&r, "}\n");
	cr_expect_eq(kept(&r), 3, "not twice within a second");
	rig_down(&r);
}

Test(fc_metrics, nonsense_is_not_kept_and_a_line_without_end_is_forgotten)
{
	static char endless[60000];
	struct rig r;

	rig_up(&r);
	say(&r, "nonsense\n[1]\n");
	cr_expect_not(file_exists(r.path));
	memset(endless, 'x', sizeof(endless) - 1);
	for (int i = 0; i < 20; i++)
		say(&r, endless);
	cr_expect_leq(r.m.in.len, FC_METRICS_LINE_MAX);
	say(&r, "\n{\"n\":5}\n");
	cr_expect_eq(kept(&r), 5);
	rig_down(&r);
}

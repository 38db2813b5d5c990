#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "loop_rig.h"
#include "progress.h"

struct screen {
	struct rig rig;
	int fds[2];
	struct progress *p;
};

static void begin(struct screen *s, bool terminal)
{
	rig_make(&s->rig, NULL, NULL);
	rig_inherit(&s->rig, NULL);
	rig_plan(&s->rig);
	cr_assert_eq(pipe(s->fds), 0);
	const struct progress_spec spec = {
		.fd = s->fds[1], .terminal = terminal, .g = &s->rig.g, .plan = &s->rig.plan};
	s->p = progress_new(&spec);
}

static void end(struct screen *s, struct buf *out)
{
	char chunk[4096];
	ssize_t n;

	progress_free_p(&s->p);
	close(s->fds[1]);
	while ((n = read(s->fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(out, chunk, (size_t)n);
	close(s->fds[0]);
	rig_free(&s->rig);
}

Test(progress, piped_output_is_plain_lines)
{
	auto_buf struct buf out = BUF_INIT(65536);
	struct screen s;

	begin(&s, false);
	size_t kernel = rig_step(&s.rig, VERB_CREATE, "kernel/default");
	size_t clone = rig_step(&s.rig, VERB_CREATE, "clone/web-1");
	progress_start(s.p, kernel, 1000);
	progress_say(s.p, kernel, "fetching");
	progress_end(s.p, kernel, 2500, NULL);
	progress_start(s.p, clone, 3000);
	progress_end(s.p, clone, 3040, "no memory server");
	progress_note(s.p, "interrupted");
	progress_tick(s.p, 4000);
	end(&s, &out);
	cr_expect_str_eq(buf_str(&out), "kernel/default: create: kernels.default\n"
					"kernel/default: create: fetching\n"
					"kernel/default: create: done in 1.5s\n"
					"clone/web-1: create: fleets.web.count\n"
					"clone/web-1: create: failed after 40ms: no memory server\n"
					"interrupted\n");
}

Test(progress, a_terminal_shows_one_line_a_resource_and_a_bar_for_clones)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct screen s;

	begin(&s, true);
	progress_start(s.p, rig_step(&s.rig, VERB_CREATE, "clone/web-0"), 1000);
	progress_end(s.p, rig_step(&s.rig, VERB_CREATE, "clone/web-0"), 1100, NULL);
	progress_start(s.p, rig_step(&s.rig, VERB_CREATE, "clone/web-1"), 1100);
	progress_say(s.p, rig_step(&s.rig, VERB_CREATE, "clone/web-1"), "restoring");
	progress_tick(s.p, 1200);
	end(&s, &out);
	/* Only the last drawing counts: what follows the last way up. */
	const char *last = NULL;
	for (const char *at = buf_str(&out); (at = strstr(at, "\033[7A")); at++)
		last = at;
	cr_assert(last, "seven lines are redrawn: six resources and one fleet");
	cr_expect(strstr(last, "clone/web-*"), "%s", last);
	cr_expect(strstr(last, "[######--------------] 1/3"), "%s", last);
	cr_expect(strstr(last, "restoring"), "%s", last);
	cr_expect(strstr(last, "· kernel/default"), "%s", last);
}

/* A terminal of that size; what is written to it can be read from *ret_master. */
static int small_terminal(unsigned short rows, unsigned short columns, int *ret_master)
{
	const struct winsize size = {.ws_row = rows, .ws_col = columns};
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64];

	cr_assert_geq(master, 0);
	cr_assert_eq(grantpt(master), 0);
	cr_assert_eq(unlockpt(master), 0);
	cr_assert_eq(ptsname_r(master, name, sizeof(name)), 0);
	int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_geq(slave, 0);
	cr_assert_eq(ioctl(slave, TIOCSWINSZ, &size), 0);
	*ret_master = master;
	return slave;
}

Test(progress, no_line_is_wider_and_no_table_higher_than_the_terminal)
{
	auto_buf struct buf out = BUF_INIT(65536);
	auto_rig struct rig rig;
	auto_close int master = -1;
	int slave = small_terminal(4, 30, &master);
	char chunk[8192];
	ssize_t n;

	rig_make(&rig, NULL, NULL);
	rig_inherit(&rig, NULL);
	rig_plan(&rig);
	const struct progress_spec spec = {
		.fd = slave, .terminal = true, .g = &rig.g, .plan = &rig.plan};
	auto_progress struct progress *p = progress_new(&spec);
	size_t kernel = rig_step(&rig, VERB_CREATE, "kernel/default");
	progress_start(p, kernel, 1000);
	progress_say(p, kernel, "something that takes more than thirty columns to say");
	progress_tick(p, 1200);
	/* A terminal hands over what it has, not what was written in one call; EIO is its end. */
	cr_assert_eq(close(slave), 0);
	while ((n = read(master, chunk, sizeof(chunk))) > 0)
		buf_add(&out, chunk, (size_t)n);
	cr_assert_eq(errno, EIO, "%s", strerror(errno));
	cr_expect_null(strstr(buf_str(&out), "thirty"), "%s", buf_str(&out));
	cr_expect(strstr(buf_str(&out), "\033[1A"), "one row runs: %s", buf_str(&out));
	cr_expect_null(strstr(buf_str(&out), "\033[7A"), "%s", buf_str(&out));
}

Test(progress, clones_that_are_taken_away_have_a_name)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct screen s;

	rig_make(&s.rig, NULL, NULL);
	rig_settle(&s.rig);
	for (size_t i = 0; i < s.rig.g.n; i++)
		s.rig.g.nodes[i].spec = NULL;
	plan_destroy(&s.rig.g, s.rig.seen, &s.rig.plan);
	cr_assert_eq(pipe(s.fds), 0);
	const struct progress_spec spec = {
		.fd = s.fds[1], .terminal = true, .g = &s.rig.g, .plan = &s.rig.plan};
	s.p = progress_new(&spec);
	progress_tick(s.p, 1000);
	end(&s, &out);
	cr_expect(strstr(buf_str(&out), " clone/*  "), "%s", buf_str(&out));
}

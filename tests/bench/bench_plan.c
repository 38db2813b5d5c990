/* bench_plan.c - `fcvm plan` of 10,000 and 100,000 clones: wall time and peak memory, and whether
 * ten times the clones cost ten times as much. Targets: < 1 s and < 500 MB at 100,000. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

#define ROUNDS 5

struct cost {
	double ms;
	double mib;
};

static struct cost plan_once(const char *dir, const char *spec, const char *set)
{
	double start = bench_now_ms();
	struct rusage used;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, 1);
		dup2(null, 2);
		execl(run_fcvm_path(), "fcvm", "--data-dir", dir, "plan", spec, "--set", set,
		      (char *)NULL);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &used) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 0) {
		(void)fprintf(stderr, "bench plan: fcvm plan failed\n");
		exit(1);
	}
	return (struct cost){bench_now_ms() - start, (double)used.ru_maxrss / 1024.0};
}

static struct cost median(const char *dir, const char *spec, const char *set)
{
	double ms[ROUNDS], mib[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		struct cost c = plan_once(dir, spec, set);

		ms[i] = c.ms;
		mib[i] = c.mib;
	}
	return (struct cost){bench_quantile(ms, ROUNDS, 0.5), bench_quantile(mib, ROUNDS, 0.5)};
}

int main(void)
{
	auto_tmpdir char *dir = tmpdir_new("bench-plan");
	auto_free char *spec = path_join(dir, "fleet.yaml");
	char cwd[4096];

	if (!getcwd(cwd, sizeof(cwd)))
		return 1;
	auto_free char *text = xasprintf(
		"apiVersion: fcvm/v1\nname: bench\n"
		"baselines:\n  web:\n"
		"    image: \"oci-archive:%s/%s/examples/hello.oci.tar\"\n    memory: 256MiB\n"
		"fleets:\n  web: { from: web, count: 1, metadata: { shard: \"{{index}}\" } }\n",
		cwd, TEST_BUILD_DIR);
	if (file_replace(spec, text, strlen(text), 0600, NULL) < 0)
		return 1;
	struct cost ten = median(dir, spec, "fleets.web.count=10000");
	struct cost hundred = median(dir, spec, "fleets.web.count=100000");

	bench_print(&(struct bench_row){"plan.10000", ten.ms, "ms", "target", 1000, ROUNDS});
	bench_print(&(struct bench_row){"plan.100000", hundred.ms, "ms", "target", 1000, ROUNDS});
	bench_print(&(struct bench_row){"plan.100000.per_clone", hundred.ms / 100000 * 1e3, "us",
					"plan.10000.per_clone", ten.ms / 10000 * 1e3, ROUNDS});
	bench_print(
		&(struct bench_row){"plan.100000.rss", hundred.mib, "MiB", "target", 500, ROUNDS});
	return 0;
}

/* sim_session.c - the first test of the project: two sessions over transports that die at every
 * byte of either direction, and thousands of seeded runs with cuts, stalls, throttles, sleeps,
 * resets and half closes. Then the same with faults planted in the engines: each must be caught.
 *
 *   sim_session                       everything, as TAP
 *   sim_session random SEED [FAULT]   one seeded run
 *   sim_session scarce SEED           one where memory is refused now and then
 *   sim_session sweep CUT_CLIENT CUT_SERVER [FAULT] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "memory.h"
#include "world.h"

#define RANDOM_RUNS 20000
#define SCARCE_RUNS 6000
#define FAULT_RUNS  3000
#define SWEEP_END   1600 /* more than either direction carries in the small scenario */

static const char *const fault_name[FAULT_COUNT] = {
    [FAULT_NONE] = "none",
    [FAULT_NO_REWIND] = "resume without rewinding",
    [FAULT_ACK_OFF_BY_ONE] = "off by one in the acknowledgement",
    [FAULT_RING_FORGETS] = "ring that forgets",
    [FAULT_STALE_INPUT] = "stale input kept across transports",
    [FAULT_CREDIT_TWICE] = "credit given on receipt and on consumption",
    [FAULT_DEAF_TO_CAP] = "cap on bytes in flight ignored",
    [FAULT_FIN_OVERTAKES] = "FIN overtakes bytes",
    [FAULT_STALE_OUTPUT] = "stale output kept across transports",
    [FAULT_RST_LOST] = "reset not told to the peer",
};

static struct world world;

static struct plan plan_random(uint64_t seed)
{
	uint64_t r = seed * 2654435761u + 17;
	struct plan p = {.seed = seed, .streams = 1 + (unsigned)(world_random(&r) % 10)};
	uint64_t flags = world_random(&r);
	p.most_bytes = world_random(&r) % (flags & 1 ? 3000 : 60000);
	if (!(flags & 0x7000))
		p.most_bytes = 1200000;
	p.cuts = (unsigned)(world_random(&r) % 12);
	for (unsigned i = 0; i < p.cuts; i++)
		for (unsigned k = 0; k < SIDES; k++)
			p.cut_at[i][k] =
			    world_random(&r) %
			    (world_random(&r) % 3 ? 200 : p.most_bytes * p.streams / 4 + 60);
	p.resets = flags & 2;
	p.stalls = flags & 4;
	p.jumps = (flags & 0x18) == 0x18;
	p.slow_readers = flags & 0x20;
	p.big_chunks = flags & 0x40 || p.most_bytes > 500000;
	p.throttle = (flags & 0x180) == 0x180;
	p.latency_ms = flags & 0x200 ? (uint32_t)(world_random(&r) % 200) : 0;
	return p;
}

static struct plan plan_sweep(uint64_t cut_client, uint64_t cut_server)
{
	struct plan p = {.seed = 4711, .streams = 3, .most_bytes = 300, .cuts = 1};
	p.cut_at[0][CLIENT] = cut_client;
	p.cut_at[0][SERVER] = cut_server;
	p.big_chunks = true;
	return p;
}

static bool run_random(uint64_t seed)
{
	struct plan p = plan_random(seed);
	if (world_run(&world, &p))
		return true;
	printf("# %s; again: sim_session random %llu %d\n", world.why, (unsigned long long)seed,
	       core_fault);
	return false;
}

/* Memory is refused now and then: streams may end with that reason, or the whole link; nothing else
 * may go wrong, and what does arrive is right. */
static bool run_scarce(uint64_t seed)
{
	struct plan p = plan_random(seed);
	p.scarce = 5 + (unsigned)(seed % 60);
	if (world_run(&world, &p))
		return true;
	printf("# %s; again: sim_session scarce %llu\n", world.why, (unsigned long long)seed);
	return false;
}

static bool run_sweep(uint64_t cut_client, uint64_t cut_server)
{
	struct plan p = plan_sweep(cut_client, cut_server);
	if (world_run(&world, &p))
		return true;
	printf("# %s; again: sim_session sweep %llu %llu %d\n", world.why,
	       (unsigned long long)cut_client, (unsigned long long)cut_server, core_fault);
	return false;
}

/* Every byte of one direction, each with a few points of the other. Returns the number of runs, 0
 * on failure. */
static unsigned long sweep(void)
{
	static const uint64_t other[] = {0, 1, 7, 8, 55, 56, 57, 64, 71, 73, 100, 300, NEVER};
	unsigned long runs = 0;
	for (uint64_t at = 0; at < SWEEP_END; at++)
		for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++, runs += 2)
			if (!run_sweep(at, other[i]) || !run_sweep(other[i], at))
				return 0;
	return runs;
}

/* In a process of its own: a planted fault may also break a promise that ends the program. */
static bool fault_caught(int fault, int *ret_runs)
{
	int fds[2], status, runs = 0;
	if (pipe(fds) < 0)
		return false;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		core_fault = (enum core_fault)fault;
		if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
			_exit(9);
		for (int i = 1; i <= FAULT_RUNS; i++) {
			if (write(fds[1], &i, sizeof(i)) < 0 || !run_random((uint64_t)i))
				_exit(1);
		}
		_exit(0);
	}
	close(fds[1]);
	while (read(fds[0], &runs, sizeof(runs)) == (ssize_t)sizeof(runs)) {
	}
	close(fds[0]);
	*ret_runs = runs;
	return waitpid(pid, &status, 0) == pid &&
	       ((WIFEXITED(status) && WEXITSTATUS(status) == 1) || WIFSIGNALED(status));
}

static int everything(void)
{
	int failed = 0, runs;
	unsigned long total = sweep();
	printf("1..%d\n", 2 + FAULT_COUNT);
	printf("%s 1 - cut at every byte of either direction: %lu runs\n", total ? "ok" : "not ok",
	       total);
	failed += !total;
	uint64_t seed = 1, bytes = 0, transports = 0, silences = 0, sleeps = 0;
	for (; seed <= RANDOM_RUNS && run_random(seed); seed++) {
		bytes += world.bytes;
		transports += world.generation;
		silences += world.silences;
		sleeps += world.sleeps;
	}
	printf("%s 2 - seeded: %llu runs, %llu MB, %llu transports, %llu given up by silence, %llu "
	       "sleeps\n",
	       seed > RANDOM_RUNS ? "ok" : "not ok", (unsigned long long)seed - 1,
	       (unsigned long long)bytes / 1000000, (unsigned long long)transports,
	       (unsigned long long)silences, (unsigned long long)sleeps);
	failed += seed <= RANDOM_RUNS;
	uint64_t scarce = 1, over = 0;
	for (; scarce <= SCARCE_RUNS && run_scarce(scarce); scarce++)
		over += world.over;
	printf("%s 3 - memory refused: %llu runs, %lu refusals, %llu links ended by them\n",
	       scarce > SCARCE_RUNS ? "ok" : "not ok", (unsigned long long)scarce - 1,
	       memory_refused(), (unsigned long long)over);
	failed += scarce <= SCARCE_RUNS;
	for (int f = 1; f < FAULT_COUNT; f++) {
		bool caught = fault_caught(f, &runs);
		printf("%s %d - planted: %s, caught after %d runs\n", caught ? "ok" : "not ok",
		       3 + f, fault_name[f], runs);
		failed += !caught;
	}
	printf("# %lu runs\n", total + (unsigned long)(seed - 1 + scarce - 1));
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return everything();
	if (!strcmp(argv[1], "random") && argc >= 3) {
		core_fault = argc > 3 ? (enum core_fault)strtol(argv[3], NULL, 10) : FAULT_NONE;
		return run_random(strtoull(argv[2], NULL, 10)) ? 0 : 1;
	}
	if (!strcmp(argv[1], "scarce") && argc >= 3)
		return run_scarce(strtoull(argv[2], NULL, 10)) ? 0 : 1;
	if (!strcmp(argv[1], "sweep") && argc >= 4) {
		core_fault = argc > 4 ? (enum core_fault)strtol(argv[4], NULL, 10) : FAULT_NONE;
		return run_sweep(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10)) ? 0 : 1;
	}
	fprintf(stderr, "usage: sim_session [random SEED [FAULT] | scarce SEED | sweep CLIENT "
			"SERVER [FAULT]]\n");
	return 2;
}

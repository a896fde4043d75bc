/* hold_session.c - the processes of a terminal's session, found in /proc. A shell without job
 * control of its own passes no SIGHUP on to its background jobs, so ending a terminal asks them
 * itself. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/hold_state.h"

/* Session of a process, from the sixth field of its stat; 0: unknown. */
static pid_t session_of(const char *pid)
{
	char path[64], line[512];
	long session = 0;
	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	/* the name in parentheses may have anything in it, also blanks and parentheses */
	const char *after = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (!after || sscanf(after + 1, " %*c %*d %*d %ld", &session) != 1)
		session = 0;
	fclose(f);
	return (pid_t)session;
}

void hold_session_signal(pid_t session, int signo)
{
	const struct dirent *e;
	DIR *d = session > 1 ? opendir("/proc") : NULL;
	while (d && (e = readdir(d)) != NULL) {
		long long pid;
		if (str_to_int(e->d_name, 2, INT32_MAX, &pid) && session_of(e->d_name) == session)
			kill((pid_t)pid, signo);
	}
	if (d)
		closedir(d);
}

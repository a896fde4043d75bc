/* towline_host.c - the one program that runs on the host: a table of faces. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/version.h"
#include "host/agent.h"
#include "host/bridge.h"
#include "host/browser.h"
#include "host/exec.h"
#include "host/forward.h"
#include "host/hold.h"
#include "host/lane.h"
#include "host/ports.h"
#include "host/kernel_hold.h"
#include "host/kernels.h"
#include "host/probe.h"
#include "host/resolve.h"
#include "host/serve.h"
#include "host/server.h"
#include "host/svc_fs.h"
#include "host/watch.h"
#include "wire/link_frame.h"

static int sftp_server(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return svc_fs_main(0, 1, NULL);
}

static int watch(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return watch_main();
}

static int version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("towline-host %s (link protocol %d)\n", TL_VERSION, LINK_PROTO);
	return 0;
}

static int help(int argc, char **argv);

static const struct face {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} faces[] = {
    {"bridge", bridge_main, "join standard input and output to this user's agent"},
    {"serve", serve_main, "serve one client on standard input and output; leaves nothing"},
    {"agent", agent_main, "serve clients (started by bridge)"},
    {"hold", hold_main, "own one terminal (started by the agent)"},
    {"kernel-hold", kernel_hold_main, "own one Python, R or other kernel (started by the agent)"},
    {"kernels", kernels_main, "print the kernels and interpreters of this host as JSON"},
    {"sftp-server", sftp_server, "SFTP version 3 on standard input and output"},
    {"lane", lane_main, "a piece of one large file on a channel of its own"},
    {"watch", watch, "report file changes as JSON-RPC on standard input and output"},
    {"exec", exec_main, "run one command of a stream (started by the agent)"},
    {"direct-tcpip", direct_main, "make one connection of a stream (started by the agent)"},
    {"direct-streamlocal", direct_main, "the same to a unix socket"},
    {"tcpip-forward", listen_main, "listen for a stream (started by the agent)"},
    {"forwarded-tcpip", forwarded_main, "hand one accepted connection over (started by the agent)"},
    {"browser", browser_main, "show a page in the window of this terminal ($BROWSER)"},
    {"ports", ports_main, "report listening ports as JSON-RPC on standard output"},
    {"probe", probe_main, "print facts about this host as JSON; touches nothing"},
    {"server", server_main, "the installation here: what runs, end it, remove it"},
    {"resolve", resolve_main, "print what a path is as JSON (used by the agent)"},
    {"--version", version, "print the version"},
    {"--help", help, "print this"},
};

#define FACES (sizeof(faces) / sizeof(faces[0]))

static void list_faces(FILE *to)
{
	fputs("usage: towline-host FACE [ARGUMENT…]\n\n", to);
	for (size_t i = 0; i < FACES; i++)
		fprintf(to, "  %-18s %s\n", faces[i].name, faces[i].summary);
}

static int help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	list_faces(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (argc > 0 && strcmp(slash ? slash + 1 : argv[0], BROWSER_NAME) == 0)
		return browser_main(argc, argv);
	for (size_t i = 0; argc > 1 && i < FACES; i++)
		if (strcmp(argv[1], faces[i].name) == 0)
			return faces[i].run(argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "towline-host: there is no face \"%s\"\n", argv[1]);
	list_faces(stderr);
	return err_row(TL_E_INVAL)->exit_status;
}

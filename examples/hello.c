/* hello.c - runs one command on a host: cc hello.c $(pkg-config --cflags --libs towline) */
#include <stdio.h>
#include <towline.h>

int main(int argc, char **argv)
{
	struct tl_session *s;
	struct tl_error e;
	struct tl_exit how;

	if (argc != 3 || tl_connect(argv[1], NULL, &s, &e) != 0) {
		fprintf(stderr, "%s\n%s\n", argc != 3 ? "usage: hello HOST COMMAND" : e.message,
			argc != 3 ? "" : e.todo);
		return 1;
	}
	if (tl_run(s, argv[2], &how, &e) != 0)
		fprintf(stderr, "%s\n", e.message);
	tl_disconnect(s);
	return e.number ? 1 : how.status;
}

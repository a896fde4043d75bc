/* replay.c - a fuzz target without a fuzzer: feeds every file named on the command line, and the
 * files of every folder named there, to LLVMFuzzerTestOneInput. Prints TAP; a crash ends the
 * program. Owns one input at a time, in a block of its exact size, so that the sanitizer sees any
 * overread. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, int number)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	struct stat st;

	printf("# input %s\n", path);
	if (!f || fstat(fileno(f), &st) < 0)
		goto fail;
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		goto fail;
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	printf("ok %d - %s\n", number, path);
	return 0;
fail:
	printf("not ok %d - %s: cannot be read\n", number, path);
	if (f)
		fclose(f);
	free(data);
	return 1;
}

static int replay_folder(const char *path, int *number)
{
	struct dirent **names;
	char file[4096];
	int failed = 0, n = scandir(path, &names, NULL, alphasort);

	if (n < 0)
		return replay_file(path, ++*number);
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			failed += replay_file(file, ++*number);
		free(names[i]);
	}
	free(names);
	return failed;
}

int main(int argc, char **argv)
{
	int number = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* the empty input is always one */
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	printf("ok %d - empty input\n", ++number);
	for (int i = 1; i < argc; i++)
		failed += replay_folder(argv[i], &number);
	printf("1..%d\n", number);
	return failed ? 1 : 0;
}

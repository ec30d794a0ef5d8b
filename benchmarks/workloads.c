/* What is measured: runs one operation over and over for so many seconds, and prints "COUNT NANOSECONDS".
 *
 *     workloads opens PATH SECONDS      open and close a file; one that is missing will do
 *     workloads execs PROGRAM SECONDS   start a program and wait for its end
 *
 * A fourth argument is a rate: so many a second, instead of as many as it can.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void open_once(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file >= 0)
		close(file);
	else if (errno != ENOENT)
		fail(path);
}

static void exec_once(const char *program)
{
	char *const arguments[] = {(char *)program, NULL};
	char *const environment[] = {NULL};
	pid_t child;

	errno = posix_spawn(&child, program, NULL, NULL, arguments, environment);
	if (errno || waitpid(child, NULL, 0) != child)
		fail(program);
}

int main(int count, char **arguments)
{
	int opens = (count == 4 || count == 5) && !strcmp(arguments[1], "opens");
	int execs = (count == 4 || count == 5) && !strcmp(arguments[1], "execs");
	double rate = count == 5 ? atof(arguments[4]) : 0;
	/* Looking at the clock takes time too: once in a thousand opens. */
	long batch = rate ? 1 : opens ? 1000 : 1, done = 0;
	long long begun, passed, wanted;

	if (!opens && !execs)
		return 2;
	wanted = atof(arguments[3]) * 1e9;
	begun = now_ns();
	do {
		for (long left = batch; left; left--)
			(opens ? open_once : exec_once)(arguments[2]);
		done += batch;
		passed = now_ns() - begun;
		if (rate && done / rate * 1e9 > passed)
			usleep((done / rate * 1e9 - passed) / 1000);
	} while (passed < wanted);
	printf("%ld %lld\n", done, passed);
	return 0;
}

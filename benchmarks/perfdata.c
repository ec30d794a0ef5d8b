/* Counts what is in a perf.data file, and prints "SAMPLES LOST": perf has no fast way to tell the number of lost events.
 *
 * Both kinds of record that tell losses may be there for the same loss, so the larger sum counts. The format is
 * tools/perf/Documentation/perf.data-file-format.txt of the kernel; the records are those of linux/perf_event.h.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct section {
	uint64_t offset, size;
};

struct file_header {
	char magic[8];
	uint64_t size, attr_size;
	struct section attrs, data;
};

static uint64_t word(const void *record, int index)
{
	uint64_t value;

	memcpy(&value, (const char *)record + sizeof(struct perf_event_header) + 8 * index, sizeof(value));
	return value;
}

int main(int count, char **arguments)
{
	const struct file_header *header;
	const char *at, *end;
	uint64_t samples = 0, lost = 0, lost_samples = 0;
	struct stat stat;
	int file;

	if (count != 2 || (file = open(arguments[1], O_RDONLY)) < 0 || fstat(file, &stat))
		return 1;
	header = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (header == MAP_FAILED || memcmp(header->magic, "PERFILE2", 8))
		return 1;
	at = (const char *)header + header->data.offset;
	end = at + header->data.size;
	if (end > (const char *)header + stat.st_size)
		return 1;
	while (at < end) {
		const struct perf_event_header *record = (const void *)at;

		if (record->size < sizeof(*record))
			return 1;
		if (record->type == PERF_RECORD_SAMPLE)
			samples++;
		else if (record->type == PERF_RECORD_LOST)
			lost += word(record, 1);
		else if (record->type == PERF_RECORD_LOST_SAMPLES)
			lost_samples += word(record, 0);
		at += record->size;
	}
	printf("%llu %llu\n", (unsigned long long)samples, (unsigned long long)(lost > lost_samples ? lost : lost_samples));
	return 0;
}

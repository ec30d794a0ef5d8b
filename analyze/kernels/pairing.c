/* Which block events belong to the same request, and what was under way when it was issued. */

#include "arrays.h"

enum { START, ISSUE, REQUEUE, MERGE, COMPLETE };

#define SECTOR_SHIFT 9

/* What a slot has seen: its last rows, their kinds in the bytes of a number, and its last start or issue. */
typedef struct {
	int64_t head;
	int32_t last[3];
	uint32_t kinds;
} Slot;

#define PLAIN (START << 16 | ISSUE << 8 | COMPLETE)

static int64_t slots_of(Ints slot)
{
	int64_t most = NONE;

	for (int64_t row = 0; row < slot.size; row++) {
		if (slot.at[row] < 0)
			return OUTSIDE;
		if (slot.at[row] > most)
			most = slot.at[row];
	}
	return most + 1;
}

static void see(Slot *one, int64_t row, const Ints *kind, const Ints *size, int32_t (*found)[2], Ints before, Ints after)
{
	before.at[row] = after.at[row] = NONE;
	if (kind->at[row] <= ISSUE) {
		if ((one->kinds & 0xffffff) == PLAIN && size->at[one->last[1]] == size->at[one->last[0]]) {
			found[one->last[2]][0] = one->last[1];
			found[one->last[2]][1] = one->last[0];
		}
		before.at[row] = one->head;
		if (one->head != NONE)
			after.at[one->head] = row;
		one->head = row;
	}
	one->last[2] = one->last[1];
	one->last[1] = one->last[0];
	one->last[0] = (int32_t)row;
	one->kinds = one->kinds << 8 | (uint8_t)kind->at[row];
}

int64_t plain_requests(Ints slot, Ints kind, Ints size, Ints start, Ints issue, Ints complete, Ints before, Ints after,
		       Bools rest)
{
	int64_t rows = slot.size, slots = slots_of(slot), count = 0;
	int32_t(*found)[2];
	Slot *seen;

	if (rows < 0 || slots < 0 || kind.size != rows || size.size != rows || before.size != rows || after.size != rows)
		return OUTSIDE;
	if (rest.size != rows)
		return OUTSIDE;
	if (slots > INT32_MAX || start.size < rows / 3 || issue.size < rows / 3 || complete.size < rows / 3 || rows > INT32_MAX)
		return OUTSIDE;
	seen = malloc((size_t)(slots + 1) * sizeof *seen);
	found = malloc((size_t)(rows + 1) * sizeof *found);
	if (!seen || !found) {
		free(seen);
		free(found);
		return NO_MEMORY;
	}
	memset(seen, 0xff, (size_t)slots * sizeof *seen);
	memset(found, 0xff, (size_t)rows * sizeof *found);
	for (int64_t row = 0; row < rows; row++)
		see(&seen[slot.at[row]], row, &kind, &size, found, before, after);
	memset(rest.at, true, (size_t)rows);
	for (int64_t row = 0; row < rows; row++) {
		if (found[row][0] == NONE)
			continue;
		start.at[count] = row;
		issue.at[count] = found[row][0];
		complete.at[count++] = found[row][1];
		rest.at[row] = rest.at[found[row][0]] = rest.at[found[row][1]] = false;
	}
	free(seen);
	free(found);
	return count;
}

enum { BEGINS = 1, ENDS = 2, FLUSH_BEGINS = 4, FLUSH_ENDS = 8, ASKED = 16, FLUSH = 32 };

typedef struct {
	int64_t requests;
	int64_t flushes;
} Under_way;

static bool mark(uint8_t *marks, int64_t rows, bool flush, int64_t first, int64_t issue, int64_t over, int64_t old)
{
	if (!inside(first, rows) || !inside(issue, rows) || (over != NONE && !inside(over, rows)))
		return false;
	marks[first] |= flush ? BEGINS | FLUSH_BEGINS : BEGINS;
	if (over != NONE)
		marks[over] |= flush ? ENDS | FLUSH_ENDS : ENDS;
	if (issue >= old)
		marks[issue] |= flush ? ASKED | FLUSH : ASKED;
	return true;
}

static bool walk(const uint8_t *marks, Ints dev, Under_way *now, int64_t devs, Ints depth, Bools behind_flush)
{
	for (int64_t row = 0; row < dev.size; row++) {
		Under_way *mine;
		int one = marks[row];

		if (!one)
			continue;
		if (!inside(dev.at[row], devs))
			return false;
		mine = &now[dev.at[row]];
		mine->requests += !!(one & BEGINS);
		mine->flushes += !!(one & FLUSH_BEGINS);
		if (one & ASKED)
			depth.at[row] = mine->requests > 1 ? mine->requests : 1;
		if ((one & ASKED) && !(one & FLUSH))
			behind_flush.at[row] = mine->flushes > 0;
		mine->requests -= !!(one & ENDS);
		mine->flushes -= !!(one & FLUSH_ENDS);
	}
	return true;
}

int64_t under_way(Ints dev, int64_t devs, Ints op, int64_t flush, Ints first, Ints issue, Ints over, int64_t old,
		  Ints depth, Bools behind_flush)
{
	int64_t rows = dev.size;
	bool good = true;
	uint8_t *marks;
	Under_way *now;

	if (op.size != rows || depth.size != rows || behind_flush.size != rows || devs < 0)
		return OUTSIDE;
	if (issue.size != first.size || over.size != first.size)
		return OUTSIDE;
	marks = calloc((size_t)rows + 1, 1);
	now = calloc((size_t)devs + 1, sizeof *now);
	if (!marks || !now) {
		free(marks);
		free(now);
		return NO_MEMORY;
	}
	for (int64_t i = 0; good && i < first.size; i++)
		if (issue.at[i] != NONE)
			good = inside(issue.at[i], rows) &&
			       mark(marks, rows, op.at[issue.at[i]] == flush, first.at[i], issue.at[i], over.at[i],
				    old);
	good = good && walk(marks, dev, now, devs, depth, behind_flush);
	free(marks);
	free(now);
	return good ? 0 : OUTSIDE;
}

/* Where a key is in sorted ones, or NONE. */
static int64_t search(Ints sorted, int64_t key)
{
	int64_t low = 0, high = sorted.size;

	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (sorted.at[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sorted.size && sorted.at[low] == key ? low : NONE;
}

/* Of each row the request that is first issued there and has a sector, from row `old` on. */
static bool place_requests(Ints first, Ints sector, int64_t old, int32_t *request)
{
	for (int64_t i = 0; i < first.size; i++) {
		if (first.at[i] < old || first.at[i] == NONE)
			continue;
		if (!inside(first.at[i], sector.size))
			return false;
		if (sector.at[first.at[i]] != NONE)
			request[first.at[i]] = (int32_t)i;
	}
	return true;
}

/* A stream: a disk, an op and a submitting process, whose number has 22 bits. */
static int64_t stream_of(int64_t pid, int64_t dev, int64_t op)
{
	return (int64_t)(((uint64_t)pid + 1) << 38 | (uint64_t)dev << 6 | ((uint64_t)op & 63));
}

int64_t follow(Ints first, Ints start, int64_t old, Ints dev, Ints op, Ints pid, Ints sector, Ints size, Ints known,
	       Ints left_off, Bools follows, Ints keys, Ints stops)
{
	int64_t rows = dev.size, found = 0;
	int bits = 4;
	int32_t *places, *request;
	bool good = true;

	if (op.size != rows || pid.size != rows || sector.size != rows || size.size != rows || follows.size != rows)
		return OUTSIDE;
	if (start.size != first.size || keys.size < first.size || stops.size < first.size)
		return OUTSIDE;
	if (left_off.size != known.size || rows > INT32_MAX / 2 || first.size > INT32_MAX / 2)
		return OUTSIDE;
	while (INT64_C(1) << bits < 2 * first.size)
		bits++;
	places = malloc(sizeof *places << bits);
	request = malloc((size_t)(rows + 1) * sizeof *request);
	if (!places || !request) {
		free(places);
		free(request);
		return NO_MEMORY;
	}
	memset(places, 0xff, sizeof *places << bits);
	memset(request, 0xff, (size_t)rows * sizeof *request);
	good = place_requests(first, sector, old, request);
	for (int64_t row = 0; good && row < rows; row++) {
		int64_t begin, place, before, key;
		uint64_t slot;

		if (request[row] == NONE)
			continue;
		begin = start.at[request[row]];
		if (begin != NONE && !inside(begin, rows)) {
			good = false;
			break;
		}
		key = stream_of(begin == NONE ? NONE : pid.at[begin], dev.at[row], op.at[row]);
		slot = hash_of(key, bits);
		while (places[slot] != NONE && keys.at[places[slot]] != key)
			slot = (slot + 1) & ((UINT64_C(1) << bits) - 1);
		place = places[slot];
		if (place == NONE) {
			before = search(known, key);
			before = before == NONE ? NONE : left_off.at[before];
			place = places[slot] = (int32_t)found++;
			keys.at[place] = key;
		} else {
			before = stops.at[place];
		}
		follows.at[row] = sector.at[row] == before;
		stops.at[place] = plus(sector.at[row], (uint64_t)(size.at[row] >> SECTOR_SHIFT));
	}
	free(places);
	free(request);
	return good ? found : OUTSIDE;
}

/* The rows of requests, and flags of each. */
typedef struct {
	Ints rows[5];
	Bools flags[4];
} Requests;

/* What is known of events; what is known of a request's are the same columns, but times, and then its own flags. */
typedef struct {
	Ints columns[9];
	Bools flags[3];
} Events;

typedef struct {
	Ints columns[13];
	Bools flags[7];
} Found;

/* The rows of a request, and the first of them of which what it asks for is known; and the columns of events. */
enum { AT_START, AT_FIRST_ISSUE, AT_ISSUE, AT_COMPLETE, AT_END, AT_KNOWN };
enum { TS_NS, DISK, OP, COMM, PID, SECTOR, BYTES, FLAGS, DEPTH };

static const struct {
	int column;
	int row;
} SOURCES[13] = {
	{DISK, AT_KNOWN},
	{OP, AT_KNOWN},
	{COMM, AT_START},
	{PID, AT_START},
	{SECTOR, AT_KNOWN},
	{BYTES, AT_KNOWN},
	{FLAGS, AT_KNOWN},
	{TS_NS, AT_START},
	{TS_NS, AT_FIRST_ISSUE},
	{TS_NS, AT_ISSUE},
	{TS_NS, AT_COMPLETE},
	{TS_NS, AT_END},
	{DEPTH, AT_ISSUE},
};
/* Failed, sequential, behind a flush. */
static const int FLAG_ROWS[3] = {AT_COMPLETE, AT_FIRST_ISSUE, AT_ISSUE};

static bool alike(const Ints *columns, int count, const Bools *flags, int more, int64_t size)
{
	for (int i = 0; i < count; i++)
		if (columns[i].size != size)
			return false;
	for (int i = 0; i < more; i++)
		if (flags[i].size != size)
			return false;
	return true;
}

/* So many requests at once, a column after the other. */
#define CHUNK 256

static void gather_some(int64_t (*rows)[CHUNK], int64_t count, const Events *events, const Found *found, int64_t to)
{
	for (int i = 0; i < 13; i++) {
		const int64_t *from = rows[SOURCES[i].row], *column = events->columns[SOURCES[i].column].at;
		int64_t *out = found->columns[i].at + to;

		for (int64_t j = 0; j < count; j++)
			out[j] = from[j] == NONE ? NONE : column[from[j]];
	}
	for (int i = 0; i < 3; i++) {
		const int64_t *from = rows[FLAG_ROWS[i]];

		for (int64_t j = 0; j < count; j++)
			found->flags[i].at[to + j] = from[j] != NONE && events->flags[i].at[from[j]];
	}
}

int64_t gather_requests(Requests requests, Bools chosen, Events events, Found found)
{
	int64_t size = events.columns[TS_NS].size, to = 0, waiting = 0, room = found.columns[0].size;
	int64_t rows[6][CHUNK];

	if (!alike(requests.rows, 5, requests.flags, 4, chosen.size) || !alike(events.columns, 9, events.flags, 3, size))
		return OUTSIDE;
	if (!alike(found.columns, 13, found.flags, 7, room))
		return OUTSIDE;
	for (int64_t i = 0; i < chosen.size; i++) {
		if (!chosen.at[i])
			continue;
		if (to + waiting == room)
			return OUTSIDE;
		for (int which = 0; which < 5; which++) {
			int64_t row = rows[which][waiting] = requests.rows[which].at[i];

			if (row != NONE && !inside(row, size))
				return OUTSIDE;
		}
		rows[AT_KNOWN][waiting] = rows[rows[AT_FIRST_ISSUE][waiting] == NONE ? AT_START : AT_FIRST_ISSUE][waiting];
		for (int which = 0; which < 4; which++)
			found.flags[3 + which].at[to + waiting] = requests.flags[which].at[i];
		if (++waiting == CHUNK) {
			gather_some(rows, waiting, &events, &found, to);
			to += waiting;
			waiting = 0;
		}
	}
	gather_some(rows, waiting, &events, &found, to);
	return to + waiting;
}

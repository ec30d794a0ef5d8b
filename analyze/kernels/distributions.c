/* Distributions: values into bins, by group. */

#include "arrays.h"

#define PER_OCTAVE_BITS 10
#define PER_OCTAVE (1 << PER_OCTAVE_BITS)
#define BINS (PER_OCTAVE * (63 - PER_OCTAVE_BITS + 1))
/* Attributes are counted in wider bins: eight an octave. */
#define COARSE_BITS 3
#define COARSE_BINS 504
#define LOW_HALF 0xffffffff

static inline int octave_of(int64_t value)
{
	return 63 - __builtin_clzll((uint64_t)value | 1);
}

static inline int64_t bin_of(int64_t value)
{
	int above = octave_of(value) - PER_OCTAVE_BITS;

	return above < 0 ? value : above * (int64_t)PER_OCTAVE + (value >> above);
}

static inline int64_t coarse_of(int64_t value)
{
	int above = octave_of(value) - COARSE_BITS;

	if (above < 0)
		return value;
	return ((int64_t)(above + COARSE_BITS) << COARSE_BITS) + (value >> above & ((1 << COARSE_BITS) - 1));
}

static bool is_filled(const Filled *filled)
{
	int64_t size = filled->low.size;

	return filled->high.size == size && filled->halves.size == 2 * size && filled->counts.size == size * BINS;
}

/* One value, which is not negative, into one of the histograms, which is there. */
static inline void fill_one(const Filled *filled, int64_t which, int64_t value)
{
	filled->counts.at[which * BINS + bin_of(value)]++;
	filled->halves.at[which] += value & LOW_HALF;
	filled->halves.at[filled->low.size + which] += value >> 32;
	if (value < filled->low.at[which])
		filled->low.at[which] = value;
	if (value > filled->high.at[which])
		filled->high.at[which] = value;
}

int64_t fill(Ints which, Ints values, Filled filled)
{
	if (which.size != values.size || !is_filled(&filled))
		return OUTSIDE;
	for (int64_t i = 0; i < values.size; i++) {
		if (!inside(which.at[i], filled.low.size) || values.at[i] < 0)
			return OUTSIDE;
		fill_one(&filled, which.at[i], values.at[i]);
	}
	return 0;
}

static int64_t divisor(int64_t one, int64_t other)
{
	while (other) {
		int64_t rest = one % other;

		one = other;
		other = rest;
	}
	return one;
}

int64_t spread(Ints values, Ints start_ns, Ints number, Ints group_of, int64_t from_ns, int64_t slot_ns, int64_t slots,
	       Filled filled, Ints in_time, Ints combined, Ints steps, Ints floor, Ints candidates)
{
	int64_t groups = floor.size, found = 0, slot_begin = 0, slot_end = 0, slot = 0;
	bool combining = combined.size > 0;

	if (start_ns.size != values.size || number.size != values.size || candidates.size < values.size)
		return OUTSIDE;
	if (!is_filled(&filled) || filled.low.size != groups || steps.size != groups || slot_ns < 1 || slots < 1)
		return OUTSIDE;
	if (in_time.size != groups * (slots + 1) * COARSE_BINS)
		return OUTSIDE;
	if (combining && combined.size < group_of.size * COARSE_BINS)
		return OUTSIDE;
	for (int64_t i = 0; i < values.size; i++) {
		int64_t value = values.at[i], coarse = coarse_of(value), group;
		int64_t since = plus(start_ns.at[i], -(uint64_t)from_ns);

		if (value < 0 || !inside(number.at[i], group_of.size))
			return OUTSIDE;
		group = group_of.at[number.at[i]];
		if (!inside(group, groups))
			return OUTSIDE;
		fill_one(&filled, group, value);
		/* Neighbours are mostly in the same slot, and to divide takes longer than all else. */
		if (since < slot_begin || since >= slot_end) {
			slot = since < 0 ? 0 : since / slot_ns;
			slot_begin = slot ? slot * slot_ns : INT64_MIN;
			slot_end = slot < INT64_MAX / slot_ns ? (slot + 1) * slot_ns : INT64_MAX;
			slot = (slot < slots ? slot : slots - 1) + 1;
		}
		in_time.at[(group * (slots + 1) + slot) * COARSE_BINS + coarse]++;
		if (combining)
			combined.at[number.at[i] * COARSE_BINS + coarse]++;
		if (steps.at[group] != 1)
			steps.at[group] = divisor(value, steps.at[group]);
		candidates.at[found] = i;
		found += value >= floor.at[group];
	}
	return found;
}

/* Where names beyond the last are counted together, and null first. */
static inline int64_t place_of(int64_t code, int64_t places)
{
	return code < places - 1 ? plus(code, 1) : places - 1;
}

int64_t use_blocks(Ints codes, Ints issue_ns, Ints bytes, Ints depth, Ints sector, Bools sequential, Ints count,
		   Ints sums, Filled sectors, Filled depths)
{
	int64_t size = codes.size, places = count.size;

	if (issue_ns.size != size || bytes.size != size || depth.size != size || sector.size != size)
		return OUTSIDE;
	if (sequential.size != size || sums.size != 3 * places || !is_filled(&sectors) || !is_filled(&depths))
		return OUTSIDE;
	if (sectors.low.size != places || depths.low.size != places)
		return OUTSIDE;
	for (int64_t i = 0; i < size; i++) {
		int64_t place = place_of(codes.at[i], places), length = bytes.at[i] > 0 ? bytes.at[i] : 0;

		if (issue_ns.at[i] == NONE)
			continue;
		if (!inside(place, places))
			return OUTSIDE;
		count.at[place]++;
		sums.at[place] += length;
		sums.at[places + place] += sector.at[i] != NONE;
		sums.at[2 * places + place] += sequential.at[i];
		fill_one(&sectors, place, length >> 9);
		fill_one(&depths, place, depth.at[i] > 0 ? depth.at[i] : 0);
	}
	return 0;
}

int64_t count_shares(Ints group, Ints codes, Ints values, int64_t names, Ints counts)
{
	int64_t groups = names < 0 ? 0 : counts.size / ((names + 1) * COARSE_BINS);

	if (codes.size != group.size || values.size != group.size)
		return OUTSIDE;
	for (int64_t i = 0; i < group.size; i++) {
		if (!inside(group.at[i], groups) || !inside(plus(codes.at[i], 1), names + 1) || values.at[i] < 0)
			return OUTSIDE;
		counts.at[(group.at[i] * (names + 1) + codes.at[i] + 1) * COARSE_BINS + coarse_of(values.at[i])]++;
	}
	return 0;
}

/* So many histograms are at hand all the time. */
#define FEW 32

static int64_t fill_few(Ints codes, Ints duration_ns, Ints count, Filled latency)
{
	for (int64_t i = 0; i < codes.size; i++) {
		int64_t place = place_of(codes.at[i], count.size);

		if (!inside(place, count.size))
			return OUTSIDE;
		count.at[place]++;
		if (duration_ns.at[i] >= 0)
			fill_one(&latency, place, duration_ns.at[i]);
	}
	return 0;
}

/* The durations of one place after those of another: its histogram is then at hand. */
static bool by_place(Ints codes, Ints duration_ns, int64_t places, int64_t *begin, int64_t *sorted)
{
	for (int64_t i = 0; i < codes.size; i++) {
		if (!inside(place_of(codes.at[i], places), places))
			return false;
		begin[place_of(codes.at[i], places) + 1]++;
	}
	for (int64_t place = 0; place < places; place++)
		begin[place + 1] += begin[place];
	for (int64_t i = 0; i < codes.size; i++)
		sorted[begin[place_of(codes.at[i], places)]++] = duration_ns.at[i];
	return true;
}

static int64_t fill_many(Ints codes, Ints duration_ns, Ints count, Filled latency)
{
	int64_t places = count.size, *begin = calloc((size_t)places + 1, sizeof *begin);
	int64_t *sorted = malloc((size_t)(codes.size + 1) * sizeof *sorted);
	int64_t result = begin && sorted ? 0 : NO_MEMORY;

	if (!result && !by_place(codes, duration_ns, places, begin, sorted))
		result = OUTSIDE;
	for (int64_t i = 0, place = 0; !result && place < places; place++) {
		count.at[place] += begin[place] - i;
		for (; i < begin[place]; i++)
			if (sorted[i] >= 0)
				fill_one(&latency, place, sorted[i]);
	}
	free(begin);
	free(sorted);
	return result;
}

int64_t use_opens(Ints codes, Ints ret, Bools answered, Ints duration_ns, Ints count, Ints errors, Filled latency)
{
	int64_t size = codes.size, places = count.size, most, result;

	if (ret.size != size || answered.size != size || duration_ns.size != size || !places)
		return OUTSIDE;
	most = errors.size / places;
	if (!most || errors.size != most * places || !is_filled(&latency) || latency.low.size != places)
		return OUTSIDE;
	result = places > FEW ? fill_many(codes, duration_ns, count, latency)
			      : fill_few(codes, duration_ns, count, latency);
	for (int64_t i = 0; !result && i < size; i++)
		if (answered.at[i] && ret.at[i] < 0)
			errors.at[place_of(codes.at[i], places) * most + (ret.at[i] > -most ? -ret.at[i] : most - 1)]++;
	return result;
}

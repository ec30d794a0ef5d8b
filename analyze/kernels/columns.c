/* Columns of a trace: to int64, to codes, and how often codes occur. */

#include "arrays.h"

/* A checksum of the definitions in Python, which must be the same when this is used. */
const uint32_t made_for = MADE_FOR;

#define WIDEN(type)                                                                                                    \
	do {                                                                                                           \
		const type *values = column.raw.at;                                                                    \
		for (int64_t i = 0; i < size; i++)                                                                     \
			out.at[i] = (int64_t)values[i];                                                                \
	} while (0)

int64_t widen(Column column, Ints out)
{
	int64_t size = column.raw.size;

	if (out.size != size || !is_whole(&column))
		return OUTSIDE;
	switch (column.raw.width) {
	case 1:
		WIDEN(int8_t);
		break;
	case 2:
		WIDEN(int16_t);
		break;
	case 4:
		WIDEN(int32_t);
		break;
	case -1:
		WIDEN(uint8_t);
		break;
	case -2:
		WIDEN(uint16_t);
		break;
	case -4:
		WIDEN(uint32_t);
		break;
	default:
		WIDEN(int64_t);
	}
	for (int64_t i = 0; column.valid.size && i < size; i++)
		if (is_null(&column, i))
			out.at[i] = NONE;
	return 0;
}

int64_t negative(Column column, Bools out)
{
	if (out.size != column.raw.size || !is_whole(&column))
		return OUTSIDE;
	if (column.raw.width == 4)
		for (int64_t i = 0; i < column.raw.size; i++)
			out.at[i] = ((const int32_t *)column.raw.at)[i] < 0;
	else
		for (int64_t i = 0; i < column.raw.size; i++)
			out.at[i] = column.raw.width > 0 && raw_at(&column.raw, i) < 0;
	for (int64_t i = 0; column.valid.size && i < column.raw.size; i++)
		out.at[i] &= !is_null(&column, i);
	return 0;
}

/* Codes as int32, if that is what they are; nearly all are. */
static const int32_t *plain_codes(const Column *column)
{
	return column->raw.width == 4 ? column->raw.at : NULL;
}

static inline int64_t code_at(const Column *column, const int32_t *plain, int64_t row)
{
	if (is_null(column, row))
		return NONE;
	return plain ? plain[row] : raw_at(&column->raw, row);
}

int64_t translate(Column column, Ints table, Ints out)
{
	const int32_t *plain = plain_codes(&column);

	if (out.size != column.raw.size || !is_whole(&column))
		return OUTSIDE;
	for (int64_t i = 0; i < column.raw.size; i++) {
		int64_t code = code_at(&column, plain, i);

		if (code == NONE)
			out.at[i] = NONE;
		else if (inside(code, table.size))
			out.at[i] = table.at[code];
		else
			return OUTSIDE;
	}
	return 0;
}

int64_t count_pairs(Column one, Column other, int64_t width, Bools chosen, Ints counts)
{
	const int32_t *first = plain_codes(&one), *second = plain_codes(&other);
	bool all = !chosen.size;

	if (one.raw.size != other.raw.size || !is_whole(&one) || !is_whole(&other) || width < 1)
		return OUTSIDE;
	if (!all && chosen.size != one.raw.size)
		return OUTSIDE;
	for (int64_t i = 0; i < one.raw.size; i++) {
		int64_t row = plus(code_at(&one, first, i), 1), place = plus(code_at(&other, second, i), 1);

		if (!inside(row, counts.size / width) || !inside(place, width))
			return OUTSIDE;
		counts.at[row * width + place] += all || chosen.at[i];
	}
	return 0;
}

int64_t take(Ints values, Ints rows, Ints out)
{
	if (out.size != rows.size)
		return OUTSIDE;
	for (int64_t i = 0; i < rows.size; i++) {
		int64_t row = rows.at[i];

		if (row == NONE)
			out.at[i] = NONE;
		else if (inside(row, values.size))
			out.at[i] = values.at[row];
		else
			return OUTSIDE;
	}
	return 0;
}

int64_t weave(Ints values, Ints more, Ints at, Ints out)
{
	int64_t done = 0;

	if (out.size != values.size + more.size || at.size != more.size)
		return OUTSIDE;
	for (int64_t i = 0; i < more.size; i++) {
		if (at.at[i] < done || at.at[i] > values.size)
			return OUTSIDE;
		memcpy(out.at + done + i, values.at + done, (size_t)(at.at[i] - done) * sizeof *out.at);
		out.at[at.at[i] + i] = more.at[i];
		done = at.at[i];
	}
	memcpy(out.at + done + more.size, values.at + done, (size_t)(values.size - done) * sizeof *out.at);
	return 0;
}

int64_t order_rows(Ints rows, int64_t size, Ints order)
{
	int64_t found = 0;
	int64_t *place;

	if (order.size < rows.size || size < 0 || size > INT32_MAX)
		return OUTSIDE;
	place = malloc((size_t)(size + 1) * sizeof *place);
	if (!place)
		return NO_MEMORY;
	memset(place, 0xff, (size_t)size * sizeof *place);
	for (int64_t i = 0; i < rows.size; i++) {
		if (!inside(rows.at[i], size)) {
			free(place);
			return OUTSIDE;
		}
		place[rows.at[i]] = i;
	}
	for (int64_t row = 0; row < size; row++)
		if (place[row] != NONE)
			order.at[found++] = place[row];
	free(place);
	return found;
}

int64_t append_digit(Ints key, Ints codes, int64_t size)
{
	if (key.size != codes.size)
		return OUTSIDE;
	for (int64_t i = 0; i < key.size; i++)
		key.at[i] = plus((int64_t)((uint64_t)key.at[i] * (uint64_t)size), (uint64_t)codes.at[i] + 1);
	return 0;
}

int64_t encode(Ints keys, Ints out, Ints distinct)
{
	int64_t found = 0;
	int bits = 4;
	int32_t *places;

	if (out.size != keys.size || distinct.size >= INT32_MAX)
		return OUTSIDE;
	while (INT64_C(1) << bits < 2 * distinct.size)
		bits++;
	places = malloc(sizeof *places << bits);
	if (!places)
		return NO_MEMORY;
	memset(places, 0xff, sizeof *places << bits);
	for (int64_t i = 0; i < keys.size; i++) {
		uint64_t slot = hash_of(keys.at[i], bits);

		while (places[slot] != NONE && distinct.at[places[slot]] != keys.at[i])
			slot = (slot + 1) & ((UINT64_C(1) << bits) - 1);
		if (places[slot] == NONE) {
			if (found++ == distinct.size)
				break;
			places[slot] = (int32_t)(found - 1);
			distinct.at[found - 1] = keys.at[i];
		}
		out.at[i] = places[slot];
	}
	free(places);
	return found;
}

int64_t count_codes(Ints32 codes, Ints counts)
{
	for (int64_t i = 0; i < codes.size; i++) {
		if (!inside((int64_t)codes.at[i] + 1, counts.size))
			return OUTSIDE;
		counts.at[codes.at[i] + 1]++;
	}
	return 0;
}

int64_t count_in_time(Ints32 codes, Ints begin, Ints times_ns, int64_t start_ns, double cells, int64_t most, Ints counts)
{
	if (times_ns.size != codes.size)
		return OUTSIDE;
	for (int64_t i = 0; i < codes.size; i++) {
		int64_t code = codes.at[i] == NONE ? begin.size - 1 : codes.at[i], place;
		double cell = (double)plus(times_ns.at[i], -(uint64_t)start_ns) * cells;

		if (!inside(code, begin.size))
			return OUTSIDE;
		place = plus(begin.at[code], cell < 0 ? 0 : cell < (double)most ? (uint64_t)cell : (uint64_t)most);
		if (!inside(place, counts.size))
			return OUTSIDE;
		counts.at[place]++;
	}
	return 0;
}

int64_t classify(Ints values, Ints edges, Ints out)
{
	if (out.size != values.size)
		return OUTSIDE;
	for (int64_t i = 0; i < values.size; i++) {
		int64_t above = NONE;

		for (int64_t edge = 0; edge < edges.size; edge++)
			above += values.at[i] >= edges.at[edge];
		out.at[i] = above;
	}
	return 0;
}

/* What Python hands to the kernels: arrays with their sizes, and Arrow columns. NAME.py tells what the kernels of NAME.c
   do.

   A kernel returns how many of something it found, or 0, or one of the errors below. Nothing outside of the arrays is
   read or written, whatever is in them. */

#ifndef TRACEKIT_ARRAYS_H
#define TRACEKIT_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NONE (-1)
#define OUTSIDE (-1)
#define NO_MEMORY (-2)

typedef struct {
	int64_t *at;
	int64_t size;
} Ints;

typedef struct {
	int32_t *at;
	int64_t size;
} Ints32;

typedef struct {
	uint8_t *at;
	int64_t size;
} Bools;

typedef Bools Bytes;

/* Integers of `width` bytes; those without a sign have a negative width. */
typedef struct {
	const void *at;
	int64_t size;
	int64_t width;
} Raw;

/* An Arrow column: its values, which bits of `valid` say are not null (all, if it is empty), from `offset` on. */
typedef struct {
	Raw raw;
	Bytes valid;
	int64_t offset;
} Column;

/* Histograms: counts by histogram and bin, sums of the low and of the high halves of values, least, greatest. */
typedef struct {
	Ints counts;
	Ints halves;
	Ints low;
	Ints high;
} Filled;

static inline bool inside(int64_t index, int64_t size)
{
	return (uint64_t)index < (uint64_t)size;
}

/* A sum that wraps around, as numpy's does. */
static inline int64_t plus(int64_t one, uint64_t other)
{
	return (int64_t)((uint64_t)one + other);
}

/* Fibonacci hashing, to so many bits. */
static inline uint64_t hash_of(int64_t key, int bits)
{
	return (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits);
}

/* Whether a column has a bit for each value. */
static inline bool is_whole(const Column *column)
{
	if (column->offset < 0)
		return false;
	return !column->valid.size || column->raw.size <= column->valid.size * 8 - column->offset;
}

static inline bool is_null(const Column *column, int64_t row)
{
	int64_t bit = column->offset + row;

	return column->valid.size && !(column->valid.at[bit >> 3] >> (bit & 7) & 1);
}

static inline int64_t raw_at(const Raw *raw, int64_t row)
{
	switch (raw->width) {
	case 1:
		return ((const int8_t *)raw->at)[row];
	case 2:
		return ((const int16_t *)raw->at)[row];
	case 4:
		return ((const int32_t *)raw->at)[row];
	case -1:
		return ((const uint8_t *)raw->at)[row];
	case -2:
		return ((const uint16_t *)raw->at)[row];
	case -4:
		return ((const uint32_t *)raw->at)[row];
	default:
		return ((const int64_t *)raw->at)[row];
	}
}

#endif

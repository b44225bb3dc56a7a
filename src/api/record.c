/* SPDX-License-Identifier: MIT */
#include "api/record.h"

#include <string.h>

#include "api/check.h"

int record_check(const void *rec, size_t size, const char *function)
{
	if (!rec)
		return API_EINVAL("%s: the record is NULL", function);
	if (size < sizeof(size_t) || size > RECORD_SIZE_MAX)
		return API_EINVAL("%s: the record's size field is %zu; set it to sizeof() of the "
				  "record before the call",
				  function, size);
	return 0;
}

void record_give(void *rec, size_t size, const void *full, size_t full_size)
{
	size_t skip = sizeof(size_t); /* `size` stays the caller's */
	size_t n = size < full_size ? size : full_size;

	memcpy((char *)rec + skip, (const char *)full + skip, n - skip);
	if (size > full_size)
		memset((char *)rec + full_size, 0, size - full_size);
}

int record_take(void *full, size_t full_size, const void *rec, size_t size, const char *function)
{
	const unsigned char *tail = rec;
	int ret = record_check(rec, size, function);

	if (ret < 0)
		return ret;
	for (size_t i = full_size; i < size; i++)
		if (tail[i])
			return API_EINVAL("%s: the record is %zu bytes long and uses fields that "
					  "this version of the library (%zu bytes) does not know",
					  function, size, full_size);
	/* No struct with a size_t has such a size; half a pointer would be taken otherwise. */
	if (size % sizeof(size_t))
		return API_EINVAL("%s: the record's size field is %zu; set it to sizeof() of the "
				  "record before the call",
				  function, size);
	memcpy(full, rec, size < full_size ? size : full_size);
	return 0;
}

int record_take_at(void *full, size_t full_size, const void *array, size_t stride, size_t i,
		   const char *function)
{
	const char *rec = array;
	size_t size;

	if (!stride)
		memcpy(&stride, array, sizeof(stride));
	rec += i * stride;
	memcpy(&size, rec, sizeof(size));
	return record_take(full, full_size, rec, size, function);
}

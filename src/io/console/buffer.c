/* SPDX-License-Identifier: MIT */
#include "io/console/internal.h"

#include <stdlib.h>
#include <string.h>

void con_buffer_append(struct con_buffer *b, const char *data, size_t len)
{
	if (!len || (!b->data && !(b->data = malloc(IO_CONSOLE_BUFFER))))
		return;
	if (len > IO_CONSOLE_BUFFER) {
		data += len - IO_CONSOLE_BUFFER;
		len = IO_CONSOLE_BUFFER;
	}
	if (b->len + len > IO_CONSOLE_BUFFER)
		con_buffer_consume(b, b->len + len - IO_CONSOLE_BUFFER);
	size_t at = (b->head + b->len) % IO_CONSOLE_BUFFER;
	size_t first = IO_CONSOLE_BUFFER - at;
	if (first > len)
		first = len;
	memcpy(b->data + at, data, first);
	memcpy(b->data, data + first, len - first);
	b->len += len;
}

size_t con_buffer_peek(const struct con_buffer *b, const char **ret_data)
{
	size_t first = IO_CONSOLE_BUFFER - b->head;

	*ret_data = b->data + b->head;
	return b->len < first ? b->len : first;
}

void con_buffer_consume(struct con_buffer *b, size_t len)
{
	b->head = (b->head + len) % IO_CONSOLE_BUFFER;
	b->len -= len;
}

void con_buffer_free(struct con_buffer *b)
{
	free(b->data);
	*b = (struct con_buffer){0};
}

/* SPDX-License-Identifier: MIT */
#include "io/blk/engine.h"

#include <errno.h>

/* An operation that is interrupted as often as this without any progress is not going to end. */
#define MAX_RETRIES 1000

static void advance(struct blk_io *io, uint64_t n)
{
	io->offset += n;
	io->length -= n;
	while (n) {
		if (n < io->iov->iov_len) {
			io->iov->iov_base = (char *)io->iov->iov_base + n;
			io->iov->iov_len -= n;
			return;
		}
		n -= io->iov->iov_len;
		io->iov++;
		io->nr_iov--;
	}
}

bool blk_io_progress(struct blk_io *io, int64_t result)
{
	if (result == -EINTR || result == -EAGAIN) {
		if (++io->retries < MAX_RETRIES)
			return false;
		io->error = EIO;
		return true;
	}
	if (result < 0) {
		io->error = (int)-result;
		return true;
	}
	io->error = 0;
	if (io->op == BLK_IO_FLUSH || io->op == BLK_IO_DISCARD)
		return true;
	/* Nothing at all, or more than asked for: the file ended (it was cut), or the host lies. */
	if (result == 0 || (uint64_t)result > io->length) {
		io->error = EIO;
		return true;
	}
	io->retries = 0;
	advance(io, (uint64_t)result);
	return io->length == 0;
}

/* SPDX-License-Identifier: MIT */
#include "mock_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void mock_submit(struct blk_engine *engine, struct blk_io *io)
{
	struct mock *m = (struct mock *)engine;

	if (m->nr_ops == MOCK_MAX)
		abort();
	m->began[m->nr_ops] = m->nr_writes;
	m->ops[m->nr_ops++] = io;
	m->submitted++;
}

static void mock_kick(struct blk_engine *engine)
{
	(void)engine;
}

static void mock_wait(struct blk_engine *engine)
{
	struct mock *m = (struct mock *)engine;

	/* Somebody waits for nothing: a real engine would wait for ever. */
	if (!m->nr_ops)
		abort();
	mock_complete(m, 0, 0);
}

static void mock_free(struct blk_engine *engine)
{
	struct mock *m = (struct mock *)engine;

	if (m->nr_ops || m->freed)
		abort();
	m->freed = true;
}

static const struct blk_engine_ops mock_ops = {
	.name = "mock",
	.submit = mock_submit,
	.kick = mock_kick,
	.wait = mock_wait,
	.free = mock_free,
};

void mock_init(struct mock *m)
{
	/* Not the arrays: the fuzzer does this often. */
	m->nr_ops = m->submitted = m->nr_writes = 0;
	m->freed = false;
	m->engine.ops = &mock_ops;
}

int mock_find(const struct mock *m, enum blk_io_op op)
{
	for (unsigned int i = 0; i < m->nr_ops; i++)
		if (m->ops[i]->op == op)
			return (int)i;
	return -1;
}

static uint64_t value_at(const struct mock *m, uint64_t sector)
{
	for (unsigned int i = m->nr_writes; i-- > 0;)
		if (m->writes[i].sector == sector)
			return m->writes[i].value;
	return 0;
}

static void perform(struct mock *m, const struct blk_io *io, unsigned int began)
{
	uint64_t sector = io->offset / 512, length = 0;

	for (unsigned int i = 0; i < io->nr_iov; i++)
		length += io->iov[i].iov_len;
	if (io->nr_iov && length != io->length)
		abort();
	if (io->op == BLK_IO_FLUSH)
		for (unsigned int i = 0; i < began; i++)
			m->writes[i].synced = true;
	for (unsigned int i = 0; i < io->nr_iov && io->op != BLK_IO_FLUSH; i++) {
		for (size_t at = 0; at < io->iov[i].iov_len; at += 512, sector++) {
			uint64_t *word = (uint64_t *)((char *)io->iov[i].iov_base + at);

			if (io->op == BLK_IO_READ)
				*word = value_at(m, sector);
			else if (m->nr_writes < 65536)
				m->writes[m->nr_writes++] =
					(struct mock_write){sector, *word, io->dsync};
		}
	}
}

void mock_complete(struct mock *m, unsigned int i, int error)
{
	struct blk_io *io = m->ops[i];
	unsigned int began = m->began[i];

	if (i >= m->nr_ops)
		abort();
	m->nr_ops--;
	memmove(&m->ops[i], &m->ops[i + 1], (m->nr_ops - i) * sizeof(m->ops[0]));
	memmove(&m->began[i], &m->began[i + 1], (m->nr_ops - i) * sizeof(m->began[0]));
	if (!error)
		perform(m, io, began);
	io->done(io, error);
}

/* SPDX-License-Identifier: MIT */
#include "mock_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static void mock_configure(struct net_link *link, unsigned int nr_queues,
			   const struct net_offload *offload)
{
	struct mock_link *m = (struct mock_link *)link;

	m->queues = nr_queues;
	m->offload = *offload;
	m->configured++;
}

static int mock_fd(struct net_link *link, unsigned int queue)
{
	return ((struct mock_link *)link)->fd[queue];
}

static void signal_fd(struct mock_link *m, unsigned int queue)
{
	uint64_t n = 1;

	if (m->nr_waiting[queue]) {
		if (write(m->fd[queue], &n, sizeof(n)) < 0)
			abort();
	} else if (read(m->fd[queue], &n, sizeof(n)) < 0 && errno != EAGAIN) {
		abort();
	}
}

static ssize_t mock_send(struct net_link *link, unsigned int queue,
			 const struct virtio_net_hdr *hdr, struct iovec *iov, unsigned int nr_iov)
{
	struct mock_link *m = (struct mock_link *)link;
	struct mock_frame f = {.hdr = *hdr, .queue = queue};

	m->writes++;
	if (m->fail_send)
		return -m->fail_send;
	if (!m->room)
		return -EAGAIN;
	m->room--;
	for (unsigned int i = 1; i < nr_iov; i++)
		f.size += iov[i].iov_len;
	f.data = need(malloc(f.size ? f.size : 1));
	size_t at = 0;
	for (unsigned int i = 1; i < nr_iov; at += iov[i++].iov_len)
		memcpy(f.data + at, iov[i].iov_base, iov[i].iov_len);
	m->sent_ever++;
	if (m->nr_sent == MOCK_FRAMES)
		free(f.data);
	else
		m->sent[m->nr_sent++] = f;
	return (ssize_t)f.size;
}

static ssize_t mock_recv(struct net_link *link, unsigned int queue, struct virtio_net_hdr *hdr,
			 struct iovec *iov, unsigned int nr_iov)
{
	struct mock_link *m = (struct mock_link *)link;

	m->reads++;
	if (m->fail_recv)
		return -m->fail_recv;
	if (!m->nr_waiting[queue])
		return -EAGAIN;
	struct mock_frame f = m->waiting[queue][0];
	memmove(m->waiting[queue], m->waiting[queue] + 1, --m->nr_waiting[queue] * sizeof(f));
	signal_fd(m, queue);
	*hdr = f.hdr;
	size_t at = 0;
	for (unsigned int i = 1; i < nr_iov && at < f.size; i++) {
		size_t n = f.size - at < iov[i].iov_len ? f.size - at : iov[i].iov_len;

		memcpy(iov[i].iov_base, f.data + at, n);
		at += n;
	}
	free(f.data);
	return (ssize_t)f.size;
}

void mock_link_clear(struct mock_link *m)
{
	while (m->nr_sent)
		free(m->sent[--m->nr_sent].data);
}

static void mock_free(struct net_link *link)
{
	struct mock_link *m = (struct mock_link *)link;

	mock_link_clear(m);
	for (unsigned int q = 0; q < link->max_queues; q++) {
		while (m->nr_waiting[q])
			free(m->waiting[q][--m->nr_waiting[q]].data);
		close(m->fd[q]);
	}
	if (m->freed)
		*m->freed = true;
	free(m);
}

static const struct net_link_ops mock_ops = {
	.configure = mock_configure,
	.fd = mock_fd,
	.send = mock_send,
	.recv = mock_recv,
	.free = mock_free,
};

struct mock_link *mock_link_new(unsigned int queues, bool offload, bool *freed)
{
	struct mock_link *m = need(calloc(1, sizeof(*m)));

	m->link.ops = &mock_ops;
	strcpy(m->link.name, "mock");
	m->link.max_queues = queues;
	m->link.offload = offload;
	m->room = ~0u;
	m->freed = freed;
	for (unsigned int q = 0; q < queues; q++) {
		m->fd[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (m->fd[q] < 0)
			abort();
	}
	return m;
}

void mock_link_put(struct mock_link *m, unsigned int queue, const struct virtio_net_hdr *hdr,
		   const void *data, size_t size)
{
	struct mock_frame f = {.size = size, .queue = queue, .data = need(malloc(size))};

	if (m->nr_waiting[queue] == MOCK_FRAMES)
		abort();
	if (hdr)
		f.hdr = *hdr;
	memcpy(f.data, data, size);
	m->waiting[queue][m->nr_waiting[queue]++] = f;
	signal_fd(m, queue);
}

/* SPDX-License-Identifier: MIT */
/* A client of xenstored that waits for each answer by yielding. Watch events are only counted. */
#include "pvg.h"
#include <xen/io/xs_wire.h>

static volatile struct xenstore_domain_interface *ring;
static unsigned int watch_events;

void pvg_store_init(void)
{
	if (!ring)
		ring = pvg_va_of_mfn(start_info->store_mfn);
}

static void kick(void)
{
	struct evtchn_send send = {.port = start_info->store_evtchn};

	HC2(event_channel_op, EVTCHNOP_send, &send);
}

static void send_bytes(const void *data, u32 len)
{
	const u8 *p = data;

	while (len--) {
		while (ring->req_prod - ring->req_cons >= XENSTORE_RING_SIZE) {
			kick();
			HC2(sched_op, SCHEDOP_yield, 0);
		}
		ring->req[MASK_XENSTORE_IDX(ring->req_prod)] = (char)*p++;
		wmb();
		ring->req_prod++;
	}
}

static void receive_bytes(void *data, u32 len)
{
	u8 *p = data;

	while (len--) {
		while (ring->rsp_prod == ring->rsp_cons)
			HC2(sched_op, SCHEDOP_yield, 0);
		rmb();
		*p++ = (u8)ring->rsp[MASK_XENSTORE_IDX(ring->rsp_cons)];
		mb();
		ring->rsp_cons++;
		if (!(ring->rsp_cons & 255)) /* room for more of a long answer */
			kick();
	}
}

/* One message; what does not fit into buf is dropped. */
static struct xsd_sockmsg receive(char *buf, u32 size)
{
	struct xsd_sockmsg m;
	u32 n;

	receive_bytes(&m, sizeof(m));
	for (n = 0; n < m.len; n++) {
		char c;

		receive_bytes(&c, 1);
		if (n + 1 < size)
			buf[n] = c;
	}
	buf[n < size ? n : size - 1] = 0;
	kick();
	if (m.type == XS_WATCH_EVENT)
		watch_events++;
	return m;
}

bool pvg_store_watch_fired(void)
{
	char drop[64];
	bool fired;

	while (ring->rsp_prod != ring->rsp_cons)
		receive(drop, sizeof(drop));
	fired = watch_events != 0;
	watch_events = 0;
	return fired;
}

long pvg_store_request(u32 type, u32 tx, const void *payload, u32 len, char *buf, u32 size)
{
	static u32 id;
	struct xsd_sockmsg m = {.type = type, .req_id = ++id, .tx_id = tx, .len = len};

	send_bytes(&m, sizeof(m));
	send_bytes(payload, len);
	kick();
	for (;;) {
		m = receive(buf, size);
		if (m.type != XS_WATCH_EVENT && m.req_id == id)
			return m.type == XS_ERROR ? -1 : (long)m.len;
	}
}

long pvg_store_read(const char *path, char *buf, u32 size)
{
	return pvg_store_request(XS_READ, 0, path, (u32)strlen(path) + 1, buf, size);
}

long pvg_store_write(const char *path, const char *value)
{
	char msg[256], answer[32];
	u32 n = (u32)strlen(path) + 1, m = (u32)strlen(value);

	memcpy(msg, path, n);
	memcpy(msg + n, value, m);
	return pvg_store_request(XS_WRITE, 0, msg, n + m, answer, sizeof(answer));
}

u64 pvg_store_number(const char *path)
{
	char buf[32];
	u64 v = 0;

	if (pvg_store_read(path, buf, sizeof(buf)) < 0)
		return 0;
	for (const char *p = buf; *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (u64)(*p - '0');
	return v;
}

/* ---- devices' nodes ---- */

static char *put_str(char *p, const char *s)
{
	while (*s)
		*p++ = *s++;
	*p = 0;
	return p;
}

const char *pvg_store_under(const char *base, const char *leaf)
{
	static char path[160];

	put_str(put_str(put_str(path, base), "/"), leaf);
	return path;
}

void pvg_store_name(char *name, const char *prefix, u64 n)
{
	char digits[24], *p = put_str(name, prefix);
	int i = 0;

	do {
		digits[i++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (i)
		*p++ = digits[--i];
	*p = 0;
}

long pvg_store_put(const char *base, const char *leaf, u64 value)
{
	char num[24];

	pvg_store_name(num, "", value);
	return pvg_store_write(pvg_store_under(base, leaf), num);
}

bool pvg_store_wait(const char *base, const char *leaf, u64 from, u64 to)
{
	u64 end = pvg_now() + 5000000000ul;

	for (;;) {
		u64 n = pvg_store_number(pvg_store_under(base, leaf));

		if (n >= from && n <= to)
			return true;
		if (pvg_now() > end)
			return false;
		HC2(sched_op, SCHEDOP_yield, 0);
	}
}

// SPDX-License-Identifier: MIT
/*
 * LD_PRELOADed into UML for tests/bench/compare. UML 6.1 keeps the first 2,696 bytes of a process's
 * FPU state and writes just these back; a host whose state is larger (AMX: 11,008 bytes) answers
 * EFAULT and UML panics at its first process. This pads what UML writes with zeros, which is a
 * legal image: XSTATE_BV in the header, which UML preserves, is masked to the components that lie
 * within what UML kept.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(int, int, void *, void *);
	static _Alignas(64) char full[65536];
	static size_t size;
	struct iovec *in, out;
	va_list ap;
	int pid;
	void *addr, *data;
	uint64_t present;

	va_start(ap, request);
	pid = va_arg(ap, int);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (!next)
		next = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || (long)addr != NT_X86_XSTATE)
		return next((int)request, pid, addr, data);
	in = data;
	if (!size) {
		out = (struct iovec){full, sizeof(full)};
		if (next(PTRACE_GETREGSET, pid, addr, &out))
			return -1;
		size = out.iov_len;
	}
	if (in->iov_len >= size)
		return next((int)request, pid, addr, data);
	memset(full + in->iov_len, 0, size - in->iov_len);
	memcpy(full, in->iov_base, in->iov_len);
	memcpy(&present, full + 512, sizeof(present));
	present &= 0x3ff; /* x87 to PKRU; AMX is 17 and 18 */
	memcpy(full + 512, &present, sizeof(present));
	out = (struct iovec){full, size};
	return next((int)request, pid, addr, &out);
}

/* SPDX-License-Identifier: MIT */
/* Debug registers, by hypercall and by `mov` to and from dr. */
#include "core/cpu/debugreg.h"

#include "core/cpu/cpu.h"
#include "core/hypercall/hypercall.h"

#define DR6_ONES  0xffff0ff0ull
#define DR6_ZERO  (~0xffffefffull)
#define DR7_ONES  0x00000400ull
#define DR7_ZERO  (~0xffff27ffull)
#define DR7_GD	  0x00002000ull
#define DR7_ARMED 0x000000ffull
#define RW_IO	  2u

/* I/O breakpoints need cr4.DE; they are kept aside and never armed in hardware. */
static long set_dr7(struct core_vcpu *v, uint64_t value)
{
	if (value >> 32 != 0)
		return -XEN_EINVAL;
	value = (value & ~DR7_ZERO) | DR7_ONES;
	if (value & DR7_GD)
		return -XEN_EPERM;
	if (value & DR7_ARMED) {
		for (unsigned int shift = 16; shift < 32; shift += 4) {
			if (((value >> shift) & 3) == RW_IO && !(v->cr4 & CORE_CR4_DE))
				return -XEN_EPERM;
		}
	}
	v->debugreg[7] = value;
	return 0;
}

long core_debugreg_load(struct core_vcpu *v, unsigned int reg, uint64_t value)
{
	switch (reg) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (!core_addr_ok(value))
			return -XEN_EPERM;
		v->debugreg[reg] = value;
		break;
	case 4:
	case 6:
		if (reg == 4 && (v->cr4 & CORE_CR4_DE))
			return -XEN_ENODEV;
		if (value >> 32 != 0)
			return -XEN_EINVAL;
		v->debugreg[6] = (value & ~DR6_ZERO) | DR6_ONES;
		break;
	case 5:
	case 7:
		if (reg == 5 && (v->cr4 & CORE_CR4_DE))
			return -XEN_ENODEV;
		return set_dr7(v, value);
	default:
		return -XEN_ENODEV;
	}
	return 0;
}

long core_debugreg_set(struct core_ctx *c, unsigned int reg, uint64_t value)
{
	long rc = core_debugreg_load(c->v, reg, value);

	if (rc == 0)
		c->ops->cpu_changed(c);
	return rc;
}

bool core_debugreg_get(const struct core_ctx *c, unsigned int reg, uint64_t *ret)
{
	const struct core_vcpu *v = c->v;

	if (reg > 7 || ((reg == 4 || reg == 5) && (v->cr4 & CORE_CR4_DE)))
		return false;
	if (reg == 4 || reg == 5)
		reg += 2;
	*ret = v->debugreg[reg];
	return true;
}

/* ABI: served */
long core_hc_set_debugreg(struct core_ctx *c, const uint64_t arg[6])
{
	return core_debugreg_set(c, (uint32_t)arg[0], arg[1]);
}

/* ABI: served */
long core_hc_get_debugreg(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t value;

	return core_debugreg_get(c, (uint32_t)arg[0], &value) ? (long)value : -XEN_ENODEV;
}

/* SPDX-License-Identifier: MIT */
/*
 * Which of the processors' known weaknesses the guest's kernel need not work around: what it reads
 * in IA32_ARCH_CAPABILITIES (Intel's; AMD's processors have other ways to say so).
 */
#ifndef PVV_DOMAIN_ARCHCAPS_H
#define PVV_DOMAIN_ARCHCAPS_H

#include <stdbool.h>
#include <stdint.h>

#define ARCH_CAPS_RDCL_NO	 (1ull << 0)
#define ARCH_CAPS_SSB_NO	 (1ull << 4)
#define ARCH_CAPS_MDS_NO	 (1ull << 5)
#define ARCH_CAPS_IF_PSCHANGE_NO (1ull << 6)
#define ARCH_CAPS_TAA_NO	 (1ull << 8)
#define ARCH_CAPS_SBDR_SSDP_NO	 (1ull << 13)
#define ARCH_CAPS_FBSDP_NO	 (1ull << 14)
#define ARCH_CAPS_PSDP_NO	 (1ull << 15)
#define ARCH_CAPS_GDS_NO	 (1ull << 26)
#define ARCH_CAPS_RFDS_NO	 (1ull << 27)
#define ARCH_CAPS_ITS_NO	 (1ull << 62)

/*
 * What the host's kernel says its processors do not suffer from, in files of `folder` (NULL: where
 * Linux has them). A file that is missing or says anything else sets nothing.
 */
uint64_t arch_caps_of_host(const char *folder);

/*
 * `translated`: no instruction of the guest's kernel is executed where it lies. Then there is one
 * more that it can do nothing about, see archcaps.c.
 */
uint64_t arch_caps(bool translated);

#endif

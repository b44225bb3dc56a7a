/* SPDX-License-Identifier: MIT */
/**
 * @file macros.h
 * Linkage macros used by the other public headers.
 */
#ifndef PVVIRT_MACROS_H
#define PVVIRT_MACROS_H

#ifdef __cplusplus
#define PVV_BEGIN_DECLS extern "C" {
#define PVV_END_DECLS	}
#else
#define PVV_BEGIN_DECLS
#define PVV_END_DECLS
#endif

#if defined(__GNUC__)
#define PVV_API __attribute__((visibility("default")))
#else
#define PVV_API
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Kernel images: from a file or a buffer to an ELF64 image of which every number has been checked,
 * with its Xen notes read. Images are hostile input: nothing here crashes, loops or allocates
 * without a bound on them.
 *
 * Accepted: ELF64 x86-64 with Xen notes (PT_NOTE, SHT_NOTE or the old __xen_guest section); Linux
 * bzImage whose payload is one; either of them compressed with gzip, xz, lzma, lz4 (legacy frame)
 * or zstd. One layer of compression around the file, one around a bzImage's payload.
 */
#ifndef PVV_DOMAIN_IMAGE_IMAGE_H
#define PVV_DOMAIN_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_FILE	   (512ull << 20) /* the file as it is stored */
#define IMAGE_MAX_UNPACKED (512ull << 20) /* after decompression */
#define IMAGE_MAX_SEGMENTS 64
#define IMAGE_MAX_NOTES	   64
#define IMAGE_STRING_MAX   128
#define IMAGE_UNSET	   (~0ull) /* a note that is absent, for addresses */

/*
 * Where bytes come from: a descriptor of a regular file or block device (not owned, read with
 * pread() from 0, so that its offset neither matters nor moves), or if fd < 0 a buffer. `name` is
 * for messages.
 */
struct image_source {
	const char *name;
	int fd;
	const void *data;
	uint64_t size; /* of data; for a descriptor it is looked up */
};

enum image_format { IMAGE_ELF, IMAGE_BZIMAGE };
enum image_compression {
	IMAGE_PLAIN,
	IMAGE_GZIP,
	IMAGE_XZ,
	IMAGE_LZMA,
	IMAGE_LZ4,
	IMAGE_ZSTD,
	IMAGE_BZIP2,
	/* Recognised, refused by name: what unpacks it (liblzo2) is under the GPL. */
	IMAGE_LZO,
};
enum image_notes_from { IMAGE_NOTES_NONE, IMAGE_NOTES_PHDR, IMAGE_NOTES_SHDR, IMAGE_NOTES_LEGACY };

/* A loadable segment. `paddr` is guest physical already (p_paddr less PADDR_OFFSET). */
struct image_segment {
	uint64_t offset, filesz; /* inside image.elf, checked */
	uint64_t paddr, memsz;	 /* memsz >= filesz, no wrap */
	uint64_t vaddr;		 /* as in the file; only for the inspector */
	uint32_t flags;		 /* PF_* */
};

/* A Xen note, in file order. `desc` points into image.elf and is `size` bytes long, clamped. */
struct image_note {
	uint32_t type;
	uint32_t size;
	const uint8_t *desc;
	bool clamped; /* the file claims more bytes than there are */
};

/* Where the symbol table goes that a kernel with the note BSD_SYMTAB asks for. */
struct image_symtab {
	uint64_t sym_offset, sym_size, str_offset, str_size; /* inside image.elf, checked */
	uint32_t sym_info;
	uint64_t paddr, size; /* size 0: there is none */
};

struct image {
	char name[IMAGE_STRING_MAX]; /* of the source, for messages */
	enum image_format format;
	enum image_compression file_compression;    /* around the whole file */
	enum image_compression payload_compression; /* of a bzImage's payload */
	uint64_t file_size;
	uint64_t payload_offset, payload_size; /* in the (unpacked) file */
	uint16_t boot_protocol;		       /* bzImage: 0x20f = 2.15 */
	char kernel_version[IMAGE_STRING_MAX]; /* bzImage: text of its setup header, or "" */

	uint8_t *elf; /* the unpacked ELF file, owned */
	uint64_t elf_size;
	uint64_t elf_entry;
	struct image_segment segment[IMAGE_MAX_SEGMENTS];
	unsigned int nr_segments;
	struct image_note note[IMAGE_MAX_NOTES];
	unsigned int nr_notes, nr_notes_ignored;
	enum image_notes_from notes_from;

	/* What the notes and headers come to, defaults filled in. */
	uint64_t entry;		       /* guest virtual */
	uint64_t virt_base;	       /* guest virtual of pfn 0 */
	uint64_t paddr_offset;	       /* taken off p_paddr */
	uint64_t phys_start, phys_end; /* all segments, guest physical, end exclusive */
	uint64_t hypercall_page;       /* guest virtual or IMAGE_UNSET */
	uint64_t init_p2m;	       /* guest virtual or IMAGE_UNSET */
	uint64_t hv_start_low;	       /* or IMAGE_UNSET */
	uint64_t phys32_entry;	       /* PVH entry or IMAGE_UNSET; not used */
	uint64_t l1_mfn_mask, l1_mfn_value;
	bool has_l1_mfn_valid, mod_start_pfn, suspend_cancel, bsd_symtab;
	struct image_symtab symtab;
	uint32_t features_supported, features_required; /* bit = XENFEAT_* */
	char guest_os[IMAGE_STRING_MAX], guest_version[IMAGE_STRING_MAX];
	char xen_version[IMAGE_STRING_MAX], loader[IMAGE_STRING_MAX];
	char pae_mode[IMAGE_STRING_MAX], features[IMAGE_STRING_MAX];

	/* IMAGE_LOAD_INSPECT only: why image_load() would have refused it, or "". */
	bool inspect;
	char refused[512];
};

/*
 * Keep an image that is sound but cannot be started here (32-bit, PVH only, unknown required
 * feature); image.refused says why.
 */
#define IMAGE_LOAD_INSPECT 1u

/*
 * Read and check an image. `max_unpacked` bounds what decompression may produce (0: the default
 * IMAGE_MAX_UNPACKED, which is also the most); pass the guest's RAM size. Errors: PVV_EIMAGE
 * (malformed or not a Xen PV image), PVV_EUNSUPPORTED (a compression or feature that is not
 * served), PVV_ELIMIT (too large), PVV_EIO, PVV_ESYS, PVV_ENOMEM, PVV_EINVAL (source is not a
 * file).
 */
int image_load(const struct image_source *src, uint64_t max_unpacked, unsigned int flags,
	       struct image **ret_image);
void image_free(struct image *img); /* NULL is accepted */

/* Write it, img->symtab.size bytes. */
void image_put_symtab(const struct image *img, uint8_t *dst);

/* Guest physical <-> initial virtual address. */
static inline uint64_t image_virt(const struct image *img, uint64_t paddr)
{
	return img->virt_base + paddr;
}

const char *image_format_name(enum image_format format);
const char *image_compression_name(enum image_compression compression); /* "xz" */
const char *image_note_name(uint32_t type);	  /* "INIT_P2M", NULL if there is none */
const char *image_feature_name(unsigned int bit); /* "writable_page_tables", NULL if none */

#endif

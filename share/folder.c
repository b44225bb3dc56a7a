/* SPDX-License-Identifier: MIT */
/*
 * The folder: NAME.xml describes the domain NAME. inotify says that something happened; what, a
 * scan finds out, so that a lost notification or a burst of them needs no thought.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "keeper.h"

#define XML_OPTIONS (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)

void spec_free(struct spec *s)
{
	free(s->source);
	free(s->xml);
	memset(s, 0, sizeof(*s));
}

/* Letters, digits, . _ -: so that a name is a word in URLs, metrics and shells. */
static bool stem(const char *file, char name[NAME_MAX_LEN + 1])
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(file);

	if (len < 5 || len - 4 > NAME_MAX_LEN || strcmp(file + len - 4, ".xml") || file[0] == '.')
		return false;
	memcpy(name, file, len - 4);
	name[len - 4] = '\0';
	return strspn(name, ok) == len - 4;
}

static char *read_all(int fd, size_t size)
{
	char *text = malloc(size + 1);
	size_t n = 0;
	ssize_t got = 1;

	while (text && n < size && (got = read(fd, text + n, size - n)) > 0)
		n += (size_t)got;
	if (!text || got < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

/* ---- what a document asks for */

static enum action action_of(const char *text)
{
	if (strstr(text, "restart")) /* also coredump-restart, rename-restart */
		return ACTION_RESTART;
	return !strcmp(text, "preserve") ? ACTION_PRESERVE : ACTION_DESTROY;
}

static xmlNode *child(xmlNode *node, const char *name)
{
	for (node = node ? node->children : NULL; node; node = node->next)
		if (node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name))
			return node;
	return NULL;
}

/* The library is to do nothing when a guest ends, except to preserve a crashed one. */
static enum action take_action(xmlNode *domain, const char *name, enum action dflt)
{
	xmlNode *node = child(domain, name);
	const char *ours = "destroy";
	enum action action = dflt;
	xmlChar *text;

	if (node) {
		text = xmlNodeGetContent(node);
		action = action_of((const char *)text);
		xmlFree(text);
	} else {
		node = xmlNewChild(domain, NULL, (const xmlChar *)name, NULL);
	}
	if (action == ACTION_PRESERVE && !strcmp(name, "on_crash"))
		ours = "preserve";
	xmlNodeSetContent(node, (const xmlChar *)ours);
	return action;
}

static void take_disks(xmlNode *domain, struct spec *spec)
{
	xmlNode *node = child(child(domain, "devices"), "disk");

	for (; node && spec->nr_disks < DISKS_MAX; node = node->next) {
		bool disk =
			node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, "disk");
		xmlNode *target = disk ? child(node, "target") : NULL;
		xmlChar *dev = target ? xmlGetProp(target, (const xmlChar *)"dev") : NULL;

		if (dev)
			snprintf(spec->disks[spec->nr_disks++], sizeof(spec->disks[0]), "%s",
				 (const char *)dev);
		xmlFree(dev);
	}
}

/* `xml` is the library's own writing: it is well-formed. */
static int spec_from(const char *xml, struct spec *spec)
{
	xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_OPTIONS);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	xmlChar *text = NULL;
	int size;

	memset(spec, 0, sizeof(*spec));
	if (root) {
		spec->on_poweroff = take_action(root, "on_poweroff", ACTION_DESTROY);
		spec->on_reboot = take_action(root, "on_reboot", ACTION_RESTART);
		spec->on_crash = take_action(root, "on_crash", ACTION_DESTROY);
		take_disks(root, spec);
		xmlDocDumpMemory(doc, &text, &size);
	}
	if (text)
		spec->xml = strdup((const char *)text);
	xmlFree(text);
	xmlFreeDoc(doc);
	return spec->xml ? 0 : -1;
}

/* Tries a document; on failure `error` has a sentence with its file. */
static int check(struct keeper *k, const char *name, const char *xml, struct spec *spec,
		 char *error, size_t size)
{
	pvv_domain *dom = NULL;
	char *canonical = NULL, *warnings = NULL;
	int ret = -1;

	if (pvv_domain_create_xml(k->checker, xml, 0, &dom) < 0 ||
	    pvv_domain_get_xml(dom, 0, &canonical) < 0 ||
	    pvv_domain_get_warnings(dom, &warnings) < 0) {
		snprintf(error, size, "%s.xml: %s", name, pvv_error_get_message(pvv_error_last()));
	} else if (strcmp(pvv_domain_get_name(dom), name)) {
		snprintf(error, size, "%s.xml: its <name> is '%s'; it has to be '%s', as the file",
			 name, pvv_domain_get_name(dom), name);
	} else if (spec_from(canonical, spec) < 0) {
		snprintf(error, size, "%s.xml: out of memory", name);
	} else {
		ret = 0;
		if (*warnings)
			LOG(SD_WARNING, "%s.xml: %s", name, warnings);
	}
	pvv_free(canonical);
	pvv_free(warnings);
	pvv_domain_unref(dom);
	return ret;
}

/* ---- one file */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* `xml` is NULL if it cannot be read; it is taken over. */
static void update(struct unit *u, char *xml)
{
	char error[512];
	struct spec spec = {0};

	if (!xml) {
		snprintf(error, sizeof(error), "%s.xml: cannot be read, or is too large", u->name);
		unit_invalid(u, error);
	} else if (!u->removed && u->spec.source && !strcmp(u->spec.source, xml)) {
		u->error[0] = '\0'; /* it says the same again */
		spec_free(&u->next);
	} else if (check(u->k, u->name, xml, &spec, error, sizeof(error)) < 0) {
		unit_invalid(u, error);
	} else {
		spec.source = xml;
		unit_apply(u, &spec);
		return;
	}
	free(xml);
}

static void look_at(struct keeper *k, int folder, const char *file, const char *name)
{
	int fd = openat(folder, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct unit *u = unit_find(k, name);
	struct stat st = {0};
	char *xml = NULL;

	if (fd < 0 && errno == ENOENT)
		return; /* gone since the folder was read */
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		if (u && !u->removed && same_file(&u->file, &st)) {
			u->seen = true;
			close(fd);
			return;
		}
		if (st.st_size <= FILE_MAX)
			xml = read_all(fd, (size_t)st.st_size);
	}
	if (fd >= 0)
		close(fd);
	if (!u)
		u = unit_new(k, name);
	if (!u) {
		free(xml);
		return;
	}
	u->seen = true;
	u->file = st;
	update(u, xml);
}

void folder_scan(struct keeper *k)
{
	struct unit *u, *next;
	struct dirent *e;
	char name[NAME_MAX_LEN + 1];
	DIR *d;

	if (k->draining)
		return;
	d = opendir(k->folder);
	if (!d) { /* not a reason to end anything */
		LOG(SD_ERR, "%s: %s", k->folder, strerror(errno));
		return;
	}
	LIST_FOREACH(u, &k->units, list)
	u->seen = false;
	while ((e = readdir(d)))
		if (stem(e->d_name, name))
			look_at(k, dirfd(d), e->d_name, name);
	closedir(d);
	for (u = LIST_FIRST(&k->units); u; u = next) {
		next = LIST_NEXT(u, list);
		if (!u->seen && !u->removed)
			unit_remove(u); /* may free it */
	}
	units_pump(k);
}

/* ---- inotify */

static int on_scan_due(sd_event_source *s, void *opaque)
{
	folder_scan(opaque);
	return 0;
}

static int on_inotify(sd_event_source *s, const struct inotify_event *e, void *opaque)
{
	struct keeper *k = opaque;

	/* Once for all that has come in this turn of the loop. */
	return sd_event_source_set_enabled(k->scan, SD_EVENT_ONESHOT);
}

int folder_watch(struct keeper *k)
{
	int ret = sd_event_add_defer(k->event, &k->scan, on_scan_due, k);

	if (ret >= 0)
		ret = sd_event_source_set_priority(k->scan, SD_EVENT_PRIORITY_IDLE);
	if (ret >= 0)
		ret = sd_event_add_inotify(k->event, NULL, k->folder,
					   IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
						   IN_DELETE | IN_ONLYDIR,
					   on_inotify, k);
	return ret;
}

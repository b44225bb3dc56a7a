/* SPDX-License-Identifier: MIT */
/*
 * Domain XML: whatever is accepted is consistent, can be written, and comes back the same; whatever
 * is refused says why.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "domain/config.h"
#include "util/err.h"
#include "xml/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check_refusal(int r)
{
	require(r == PVV_EXML || r == PVV_EUNSUPPORTED || r == PVV_ELIMIT || r == PVV_ENOMEM);
	require(pvv_error_get_code(pvv_error_last()) == r);
	require(pvv_error_get_message(pvv_error_last())[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct xml_warnings warnings;
	struct config *cfg, *again;
	char *text, *text2;

	int r = xml_parse((const char *)data, size, NULL, 0, &cfg, &warnings);
	if (r < 0) {
		check_refusal(r);
		require(!cfg && !warnings.items && !warnings.nr);
		return 0;
	}
	for (size_t i = 0; i < warnings.nr; i++)
		require(warnings.items[i].line && warnings.items[i].column);

	/* Strict mode refuses exactly what has warnings. */
	r = xml_parse((const char *)data, size, NULL, XML_STRICT, &again, NULL);
	require((r == PVV_OK) == (warnings.nr == 0));
	config_free(again);
	xml_warnings_clear(&warnings);

	require(config_check(cfg) == PVV_OK);
	require(xml_format(cfg, &text) == PVV_OK);
	require(xml_parse(text, strlen(text), NULL, 0, &again, NULL) == PVV_OK);
	require(xml_format(again, &text2) == PVV_OK);
	require(strcmp(text, text2) == 0);
	config_free(again);
	free(text);
	free(text2);

	require(config_complete(cfg) == PVV_OK);
	require(config_check(cfg) == PVV_OK);
	require(config_copy(cfg, &again) == PVV_OK);
	config_free(cfg);
	config_free(again);
	return 0;
}

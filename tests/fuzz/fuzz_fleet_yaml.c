/* fuzz_fleet_yaml.c - any bytes as a fleet spec: read, checked, refused or expanded, and freed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fleet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expand_some(const struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		const struct fleet_spec *f = &fleet->fleets[i];
		char *name = NULL, *metadata = NULL;

		if (!f->from || !f->from->from || !f->from->from->container.image)
			abort();
		if (f->count && fleet_clone_name(f, f->count - 1, &name, NULL) >= 0 &&
		    fleet_clone_metadata(fleet, f, f->count - 1, name, &metadata, NULL) >= 0)
			free(metadata);
		free(name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_fleet struct fleet *fleet = NULL;
	auto_buf struct buf problems = BUF_INIT(1u << 20);
	struct err err = {0};
	int r = fleet_parse("fuzz.yaml", (const char *)data, size, NULL, &fleet, &problems, &err);

	if ((r < 0) != (fleet == NULL) || (r < 0 && problems.len == 0))
		abort();
	if (fleet) {
		expand_some(fleet);
		(void)fleet_refuse_unavailable(fleet, &problems, &err);
	}
	return 0;
}

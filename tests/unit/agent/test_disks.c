#include "disks.h"

#include <criterion/criterion.h>

#include "cleanup.h"

Test(disks, a_list_on_the_command_line_names_disks_by_their_order)
{
	static const char line[] = "console=ttyS0 fcvm.disks=root,image-api,data quiet\n";
	static const struct {
		const char *cmdline, *device, *serial;
	} cases[] = {
		{line, "vda", "root"},      {line, "vdb", "image-api"},
		{line, "vdc", "data"},      {line, "vdd", ""},
		{line, "vdz", ""},          {line, "vda1", ""},
		{line, "loop0", ""},        {line, "vd", ""},
		{"fcvm.disks=", "vda", ""}, {"fcvm.disks=,data", "vdb", "data"},
		{"quiet", "vda", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf serial = BUF_INIT(128);

		buf_add_str(&serial, "old");
		disks_serial_by_order(cases[i].cmdline, cases[i].device, &serial);
		cr_expect_str_eq(buf_str(&serial), cases[i].serial, "%s", cases[i].device);
	}
}

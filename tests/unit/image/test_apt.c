#include "apt.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

#define SHA "e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee"

Test(apt, show_gives_version_digest_and_the_kernel_a_package_leads_to)
{
	static const struct {
		const char *depends, *image;
	} cases[] = {
		{"Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n",
		 "linux-image-6.1.0-56-cloud-amd64"},
		{"Depends: kmod, linux-image-6.1-amd64\n", "linux-image-6.1-amd64"},
		{"Depends: kmod, not-linux-image-1 | initramfs-tools (>= 0.120)\n", NULL},
		{"Recommends: linux-image-x\n", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_apt_package struct apt_package p = {0};
		auto_free char *image = NULL;
		auto_free char *text = xasprintf("Package: linux-image-cloud-amd64\n"
						 "Version: 1:6.1.192-2\n%sSize: 1484\n"
						 "SHA256: " SHA "\n\nPackage: other\n",
						 cases[i].depends);
		struct err err = {0};

		cr_assert_eq(apt_parse_show(text, &p, &image, &err), 0, "%s", err.msg);
		cr_expect_str_eq(p.name, "linux-image-cloud-amd64");
		cr_expect_str_eq(p.version, "1:6.1.192-2");
		cr_expect_str_eq(p.sha256, SHA);
		cr_expect_eq(p.size, 1484);
		if (cases[i].image)
			cr_expect_str_eq(image, cases[i].image);
		else
			cr_expect_null(image);
	}
}

Test(apt, show_output_that_cannot_be_trusted_is_refused)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{"", "apt-cache gave no package and version"},
		{"Package: a b\nVersion: 1\n", "apt-cache gave no package and version"},
		{"Package: ab\nVersion: 1;rm\n", "apt-cache gave no package and version"},
		{"Package: ab\nVersion: 1\nSize: 3\n",
		 "apt-cache gave no SHA256 and size for package 'ab'"},
		{"Package: ab\nVersion: 1\nSize: x\nSHA256: " SHA "\n",
		 "apt-cache gave no SHA256 and size for package 'ab'"},
		{"Package: ab\nVersion: 1\nSize: 3\nSHA256: ../../etc/passwd\n",
		 "apt-cache gave no SHA256 and size for package 'ab'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct apt_package p = {0};
		char *image = NULL;
		struct err err = {0};

		cr_expect_eq(apt_parse_show(cases[i].text, &p, &image, &err), -EBADMSG);
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect_null(p.name);
	}
}

Test(apt, only_names_apt_could_mean_pass)
{
	static const struct {
		const char *name;
		bool package, suite;
	} cases[] = {
		{"podman", true, true},      {"libstdc++6", true, false}, {"-o", false, false},
		{"a", false, false},         {"a,b", false, false},       {"a b", false, false},
		{"--include", false, false}, {"bookworm", true, true},    {"", false, false},
		{"A1", false, false},        {"x/../y", false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(apt_is_package_name(cases[i].name), cases[i].package, "%s",
			     cases[i].name);
		cr_expect_eq(apt_is_suite_name(cases[i].name), cases[i].suite, "%s", cases[i].name);
	}
}

Test(apt, sources_of_the_suite_are_picked_from_the_hosts)
{
	static const char text[] = "http://deb.debian.org/debian/|bookworm|Debian|main\n"
				   "http://deb.debian.org/debian/|bookworm|Debian|main\n"
				   "http://deb.debian.org/debian/|bookworm-updates|Debian|main\n"
				   "http://deb.debian.org/debian/|bookworm-backports|Debian|main\n"
				   "http://s.d.o/|bookworm-security|Debian|main\n"
				   "https://packages.cloud/apt|bookworm|Google|main\n"
				   "http://x/ y|bookworm|Debian|main\n"
				   "http://x/|bookworm|Debian\n"
				   "http://x/|bookworm|Debian|main|more\n"
				   "http://x/|bookwormish|Debian|main\n"
				   "http://x/|trixie|Debian|main";
	auto_strv struct strv lines = {0};

	apt_parse_sources(text, "bookworm", &lines);
	cr_assert_eq(lines.n, 3);
	cr_expect_str_eq(lines.v[0], "deb http://deb.debian.org/debian/ bookworm main");
	cr_expect_str_eq(lines.v[1], "deb http://deb.debian.org/debian/ bookworm-updates main");
	cr_expect_str_eq(lines.v[2], "deb http://s.d.o/ bookworm-security main");
}

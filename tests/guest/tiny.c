/* tiny.c - a guest of a few thousand instructions: fills memory with a pattern, then walks it for
 * ever, says a counter on the serial port after each walk, and says it at once when a 'c' comes in.
 * A page that is not what it must be is the last thing it says. Runs where ring 0 is emulated. */
#include <stdint.h>

#include "tiny.h"

#define SERIAL 0x3f8
#define SERIAL_STATUS (SERIAL + 5)
#define HAS_INPUT 0x01
#define KEYBOARD 0x64
#define RESET 0xfe

void tiny_main(void);

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void say(const char *text)
{
	while (*text)
		outb(SERIAL, (uint8_t)*text++);
}

static void say_number(const char *what, uint32_t n)
{
	char digits[12];
	char *at = digits + sizeof(digits) - 1;

	*at = '\0';
	*--at = '\n';
	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	say(what);
	say(at);
}

static volatile uint32_t *page_at(uint32_t n)
{
	return (volatile uint32_t *)(TINY_WALK_FROM + n * TINY_PAGE);
}

static uint32_t wanted(uint32_t n)
{
	return n * TINY_PATTERN + 1;
}

static void fill(void)
{
	for (uint32_t n = 0; n < TINY_WALK_PAGES; n++) {
		page_at(n)[0] = wanted(n);
		page_at(n)[TINY_PAGE / 4 - 1] = wanted(n);
	}
	say_number(TINY_FILLED " ", TINY_WALK_PAGES);
}

static void walk(void)
{
	for (uint32_t n = 0; n < TINY_WALK_PAGES; n++) {
		if (page_at(n)[0] == wanted(n) && page_at(n)[TINY_PAGE / 4 - 1] == wanted(n))
			continue;
		say_number(TINY_BAD, n);
		outb(KEYBOARD, RESET);
	}
}

void tiny_main(void)
{
	say("tiny: up\n");
	fill();
	for (uint32_t counter = 0;; counter++) {
		walk();
		say_number(TINY_TICK, counter);
		if ((inb(SERIAL_STATUS) & HAS_INPUT) && inb(SERIAL) == 'c')
			say_number("counter ", counter);
	}
}

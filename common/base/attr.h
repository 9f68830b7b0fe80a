/* attr.h - the compiler attributes used across the tree. */
#ifndef LANYARD_BASE_ATTR_H
#define LANYARD_BASE_ATTR_H

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/* What few calls need stays out of the registers and the lines of the others. */
#define APART __attribute__((noinline, cold))
/* Nothing is called on the way of most calls: all but what is APART is built in. */
#define BUILT_IN __attribute__((flatten))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif

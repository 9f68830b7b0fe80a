/* attr.h - the compiler attributes used across the tree. */
#ifndef LANYARD_BASE_ATTR_H
#define LANYARD_BASE_ATTR_H

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif

/* What cppcheck is told of libraries whose headers it does not read. */
#define json_object_object_foreach(o, k, v)  \
	for (const char *k = NULL; o; k = o) \
		for (struct json_object *v = o; v;)

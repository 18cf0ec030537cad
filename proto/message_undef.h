/*  message_undef.h - clears the field macros between two expansions of a messages table. No guard.
 */
#undef MESSAGE_BEGIN
#undef F_BOOL
#undef F_INT
#undef F_NUM
#undef F_STR
#undef F_BIN
#undef F_RAW
#undef F_STRS
#undef F_LIST
#undef F_MSG
#undef MESSAGE_END

/*  notify.h - tells whoever started this process how it is, by the sd_notify protocol.
 *  Thread: any.   Errors: SV_E_IO when the datagram could not be sent; without NOTIFY_SOCKET
 *  nothing is sent and the answer is 0. */
#ifndef SV_NOTIFY_H
#define SV_NOTIFY_H

/* `state`: lines such as "READY=1", "STOPPING=1", "STATUS=waiting for the broker". */
int notify_send(const char *state);

#endif

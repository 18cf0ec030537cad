/*  net.h - the few socket calls all tools need; loopback only.
 *  Thread: any.   Errors: -1 with errno, except where a function says that it ends the tool. */
#ifndef KIT_NET_H
#define KIT_NET_H

#include <stdbool.h>
#include <stdint.h>

uint64_t now_us(void); /* CLOCK_MONOTONIC */
/* Listens on 127.0.0.1:*port without blocking; port 0 takes a free one and writes it back. */
int net_listen(uint16_t *port);
/* Starts to connect without blocking. `receive_bytes` > 0 shrinks the receive buffer first. */
int net_connect(uint16_t port, int receive_bytes);
/* Closes with a reset instead of an orderly end. */
void net_reset(int fd);
void net_nodelay(int fd);
/* Raises the limit of open files to its hard limit, which root may raise too; answers the limit. */
uint64_t net_many_files(uint64_t want);

#endif

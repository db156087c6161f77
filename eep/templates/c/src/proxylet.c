// {{name}}: answers each line that it receives. The functions below are those of the world `service`
// (vendor/wit/world.wit); vendor/c/service.h says what they are given.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

// The version of what `save` writes.
#define STATE_VERSION 1
// The longest line, in bytes. A peer that sends a longer one is not worth more memory.
#define LINE_BYTES_MAX 4096

// One connection: what has come of a line that is not whole yet.
struct connection {
  uint64_t id;
  size_t len;
  struct connection *next;
  uint8_t line[LINE_BYTES_MAX];
};

static struct connection *connections;
// Lines that were answered, over all restarts.
static uint64_t answered;

static struct connection *find(uint64_t id) {
  for (struct connection *c = connections; c; c = c->next)
    if (c->id == id) return c;
  struct connection *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->id = id;
  c->next = connections;
  connections = c;
  return c;
}

static void forget(uint64_t id) {
  for (struct connection **at = &connections; *at; at = &(*at)->next)
    if ((*at)->id == id) {
      struct connection *gone = *at;
      *at = gone->next;
      free(gone);
      return;
    }
}

static void send_to(uint64_t conn, uint8_t *bytes, size_t len) {
  service_list_u8_t content = {bytes, len};
  uint64_t targets[1] = {conn};
  eep_proxylet_net_list_conn_t to = {targets, 1};
  eep_proxylet_net_segment_t segments[1] = {{1, len}};
  eep_proxylet_net_list_segment_t runs = {segments, 1};
  eep_proxylet_net_list_conn_t congested;
  eep_proxylet_net_send(&content, &to, &runs, &congested);
  // It does not read what it is sent: TCP holds it back until it does.
  if (congested.len > 0) eep_proxylet_net_receive(conn, false);
  eep_proxylet_net_list_conn_free(&congested);
}

static void received(uint64_t conn, const uint8_t *bytes, size_t len) {
  struct connection *c = find(conn);
  for (size_t i = 0; i < len; i++) {
    if (c->len == LINE_BYTES_MAX) {
      printf("a line over %d bytes: closing\n", LINE_BYTES_MAX);
      eep_proxylet_net_close(conn);
      forget(conn);
      return;
    }
    uint8_t byte = bytes[i];
    c->line[c->len++] = byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte;
    if (byte == '\n') {
      send_to(conn, c->line, c->len);
      c->len = 0;
      answered++;
    }
  }
}

// Reads "A.B.C.D:PORT" out of the configuration, a JSON object.
static bool address_of(service_string_t *config, eep_proxylet_net_socket_address_t *address) {
  char text[512];
  size_t len = config->len < sizeof text - 1 ? config->len : sizeof text - 1;
  memcpy(text, config->ptr, len);
  text[len] = 0;
  unsigned a, b, c, d, port;
  char *at = strstr(text, "\"listen\":\"");
  if (!at || sscanf(at, "\"listen\":\"%u.%u.%u.%u:%u\"", &a, &b, &c, &d, &port) != 5) return false;
  address->ip.tag = EEP_PROXYLET_TYPES_IP_ADDRESS_IPV4;
  address->ip.val.ipv4 = a << 24 | b << 16 | c << 8 | d;
  address->port = port;
  return true;
}

static bool begin(service_string_t *config, service_string_t *err) {
  // What is printed is logged, line by line.
  setvbuf(stdout, NULL, _IOLBF, 0);
  eep_proxylet_net_socket_address_t address;
  if (!address_of(config, &address)) {
    service_string_dup(err, "config: listen: write an address such as 127.0.0.1:7007");
    return false;
  }
  eep_proxylet_net_tuple2_listener_socket_address_t bound;
  eep_proxylet_net_net_error_t why;
  if (!eep_proxylet_net_listen(&address, &bound, &why)) {
    service_string_dup(err, "listen: not granted, or in use");
    return false;
  }
  printf("{{name}} on port %u\n", bound.f1.port);
  return true;
}

bool exports_eep_proxylet_lifecycle_start(uint64_t now, service_string_t *config, service_string_t *err) {
  (void)now;
  return begin(config, err);
}

void exports_eep_proxylet_lifecycle_handle(uint64_t now, exports_eep_proxylet_lifecycle_list_event_t *events,
                                           exports_eep_proxylet_lifecycle_list_conn_t *conns,
                                           service_list_u32_t *lens, service_list_u8_t *bytes) {
  (void)now;
  size_t reception = 0, at = 0;
  for (size_t i = 0; i < events->len; i++) {
    eep_proxylet_types_event_t *event = &events->ptr[i];
    switch (event->tag) {
      case EEP_PROXYLET_TYPES_EVENT_RECEIVED:
        for (uint32_t n = event->val.received; n > 0; n--, reception++) {
          received(conns->ptr[reception], bytes->ptr + at, lens->ptr[reception]);
          at += lens->ptr[reception];
        }
        break;
      case EEP_PROXYLET_TYPES_EVENT_WRITABLE:
        eep_proxylet_net_receive(event->val.writable, true);
        break;
      case EEP_PROXYLET_TYPES_EVENT_CLOSED:
        forget(event->val.closed.conn);
        break;
    }
  }
  exports_eep_proxylet_lifecycle_list_event_free(events);
  exports_eep_proxylet_lifecycle_list_conn_free(conns);
  service_list_u32_free(lens);
  service_list_u8_free(bytes);
}

// The version, the count, and each connection with the beginning of a line that has come on it.
void exports_eep_proxylet_lifecycle_save(service_list_u8_t *ret) {
  size_t len = 1 + 8;
  for (struct connection *c = connections; c; c = c->next) len += 16 + c->len;
  uint8_t *state = malloc(len);
  if (!state) abort();
  state[0] = STATE_VERSION;
  memcpy(state + 1, &answered, 8);
  size_t at = 9;
  for (struct connection *c = connections; c; c = c->next) {
    uint64_t line = c->len;
    memcpy(state + at, &c->id, 8);
    memcpy(state + at + 8, &line, 8);
    memcpy(state + at + 16, c->line, c->len);
    at += 16 + c->len;
  }
  *ret = (service_list_u8_t){state, len};
}

bool exports_eep_proxylet_lifecycle_restore(uint64_t now, service_string_t *config, service_list_u8_t *state,
                                            service_string_t *err) {
  (void)now;
  if (!begin(config, err)) return false;
  if (state->len < 9 || state->ptr[0] != STATE_VERSION) {
    service_string_dup(err, "state: not written by this version");
    return false;
  }
  memcpy(&answered, state->ptr + 1, 8);
  // The connections that live on.
  eep_proxylet_net_list_conn_t alive;
  eep_proxylet_net_connections(&alive);
  for (size_t at = 9; at + 16 <= state->len;) {
    uint64_t id, line;
    memcpy(&id, state->ptr + at, 8);
    memcpy(&line, state->ptr + at + 8, 8);
    at += 16;
    if (line > LINE_BYTES_MAX || at + line > state->len) break;
    for (size_t i = 0; i < alive.len; i++)
      if (alive.ptr[i] == id) {
        struct connection *c = find(id);
        memcpy(c->line, state->ptr + at, line);
        c->len = line;
      }
    at += line;
  }
  eep_proxylet_net_list_conn_free(&alive);
  printf("%llu lines were answered so far\n", (unsigned long long)answered);
  return true;
}

void exports_eep_proxylet_lifecycle_stop(void) {}

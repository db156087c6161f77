// {{name}}: connects to targets again and again, and tells how long that takes. The functions below are those of the world
// `service` (vendor/wit/world.wit); vendor/c/service.h says what they are given.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

// The most targets that are measured.
#define TARGETS_MAX 100
// The most connections that are being made at one time. Each of them ends by itself in the node.
#define UNDER_WAY_MAX 1024
// The token of the timer that begins a round.
#define ROUND 1
// The longest text of an address, "255.255.255.255:65535".
#define ADDRESS_CHARS_MAX 21

// A series of the node's, where there is one.
struct series {
  uint32_t id;
  bool there;
};

struct target {
  char text[ADDRESS_CHARS_MAX + 1];
  eep_proxylet_net_socket_address_t address;
  struct series seconds, done, failed;
  uint64_t done_count, failed_count;
};

static struct target targets[TARGETS_MAX];
static size_t target_count;
static uint64_t every_ns;

// A connection that is being made; none where there is no target.
struct attempt {
  uint64_t conn, begun;
  struct target *target;
};

static struct attempt under_way[UNDER_WAY_MAX];

// The place of an attempt; with no target, a free one.
static struct attempt *find(uint64_t conn, bool free_one) {
  for (size_t i = 0; i < UNDER_WAY_MAX; i++) {
    struct attempt *a = &under_way[i];
    if (free_one ? !a->target : a->target && a->conn == conn) return a;
  }
  return NULL;
}

static void set(struct series series, double value) {
  service_tuple2_u32_f64_t one[1] = {{series.id, value}};
  service_list_tuple2_u32_f64_t values = {one, 1};
  if (series.there) eep_proxylet_metrics_update(&values);
}

static struct series define(const char *name, const char *help, eep_proxylet_metrics_kind_t kind,
                            const char *target, const char *result) {
  service_tuple2_string_string_t labels[2];
  service_string_set(&labels[0].f0, "target");
  service_string_set(&labels[0].f1, target);
  service_string_set(&labels[1].f0, "result");
  service_string_set(&labels[1].f1, result ? result : "");
  eep_proxylet_metrics_metric_t metric = {.kind = kind, .labels = {labels, result ? 2 : 1}};
  service_string_set(&metric.name, name);
  service_string_set(&metric.help, help);
  struct series series;
  series.there = eep_proxylet_metrics_define(&metric, &series.id);
  return series;
}

// Takes over the targets, the addresses in quotes of a JSON list.
static bool take_targets(const char *list, service_string_t *err) {
  target_count = 0;
  for (const char *at = list; *at && *at != ']'; at++) {
    if (*at != '"') continue;
    struct target *t = &targets[target_count];
    unsigned a, b, c, d, port;
    int len = 0;
    if (sscanf(++at, "%u.%u.%u.%u:%u%n", &a, &b, &c, &d, &port, &len) != 5 || len > ADDRESS_CHARS_MAX || at[len] != '"') {
      service_string_dup(err, "config: targets: write addresses such as 192.0.2.1:80");
      return false;
    }
    if (target_count++ == TARGETS_MAX) {
      service_string_dup(err, "config: targets: more than 100");
      return false;
    }
    memset(t, 0, sizeof *t);
    memcpy(t->text, at, len);
    t->address.ip.tag = EEP_PROXYLET_TYPES_IP_ADDRESS_IPV4;
    t->address.ip.val.ipv4 = a << 24 | b << 16 | c << 8 | d;
    t->address.port = port;
    const char *tried = "Connections tried.";
    t->seconds = define("probe_connect_seconds", "How long the last connection took.",
                        EEP_PROXYLET_METRICS_KIND_GAUGE, t->text, NULL);
    t->done = define("probe_connects_total", tried, EEP_PROXYLET_METRICS_KIND_COUNTER, t->text, "done");
    t->failed = define("probe_connects_total", tried, EEP_PROXYLET_METRICS_KIND_COUNTER, t->text, "failed");
    at += len;
  }
  return true;
}

bool exports_eep_proxylet_lifecycle_start(uint64_t now, service_string_t *config, service_string_t *err) {
  // What is printed is logged, line by line.
  setvbuf(stdout, NULL, _IOLBF, 0);
  char *text = calloc(1, config->len + 1);
  if (!text) abort();
  memcpy(text, config->ptr, config->len);
  const char *list = strstr(text, "\"targets\":[");
  const char *every = strstr(text, "\"every_s\":");
  unsigned long long every_s = every ? strtoull(every + strlen("\"every_s\":"), NULL, 10) : 10;
  every_ns = (every_s ? every_s : 1) * 1000000000;
  bool taken = take_targets(list ? list + strlen("\"targets\":[") : "", err);
  free(text);
  if (!taken) return false;
  printf("measuring %zu targets\n", target_count);
  eep_proxylet_clock_set_timer(ROUND, now);
  return true;
}

static void begin_round(uint64_t now) {
  eep_proxylet_clock_set_timer(ROUND, now + every_ns);
  for (size_t i = 0; i < target_count; i++) {
    struct attempt *free_one = find(0, true);
    eep_proxylet_net_net_error_t why;
    uint64_t conn;
    if (!free_one) return;
    if (eep_proxylet_net_connect(&targets[i].address, &conn, &why))
      *free_one = (struct attempt){conn, now, &targets[i]};
    else
      printf("%s: not granted, or too many connections\n", targets[i].text);
  }
}

static void established(uint64_t now, uint64_t conn) {
  eep_proxylet_net_close(conn);
  struct attempt *a = find(conn, false);
  if (!a) return;
  double seconds = (now - a->begun) / 1e9;
  printf("%s: %.3f ms\n", a->target->text, seconds * 1e3);
  set(a->target->seconds, seconds);
  set(a->target->done, ++a->target->done_count);
  a->target = NULL;
}

static void failed(uint64_t conn, unsigned reason) {
  struct attempt *a = find(conn, false);
  if (!a) return;
  printf("%s: failed, close-reason %u\n", a->target->text, reason);
  set(a->target->failed, ++a->target->failed_count);
  a->target = NULL;
}

void exports_eep_proxylet_lifecycle_handle(uint64_t now, exports_eep_proxylet_lifecycle_list_event_t *events,
                                           exports_eep_proxylet_lifecycle_list_conn_t *conns,
                                           service_list_u32_t *lens, service_list_u8_t *bytes) {
  for (size_t i = 0; i < events->len; i++) {
    eep_proxylet_types_event_t *event = &events->ptr[i];
    switch (event->tag) {
      case EEP_PROXYLET_TYPES_EVENT_TIMER:
        if (event->val.timer == ROUND) begin_round(now);
        break;
      case EEP_PROXYLET_TYPES_EVENT_ESTABLISHED:
        established(now, event->val.established.conn);
        break;
      case EEP_PROXYLET_TYPES_EVENT_FAILED:
        failed(event->val.failed.conn, event->val.failed.reason);
        break;
    }
  }
  exports_eep_proxylet_lifecycle_list_event_free(events);
  exports_eep_proxylet_lifecycle_list_conn_free(conns);
  service_list_u32_free(lens);
  service_list_u8_free(bytes);
}

// There is nothing to carry on with: the next instance is started.
void exports_eep_proxylet_lifecycle_save(service_list_u8_t *ret) {
  *ret = (service_list_u8_t){NULL, 0};
}

bool exports_eep_proxylet_lifecycle_restore(uint64_t now, service_string_t *config, service_list_u8_t *state,
                                            service_string_t *err) {
  (void)state;
  return exports_eep_proxylet_lifecycle_start(now, config, err);
}

void exports_eep_proxylet_lifecycle_stop(void) {}

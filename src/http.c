/* http.c - see http.h. */
#include "http.h"

#include <string.h>

#define FIXDATE_BYTES 29

bool gate_http_is_method(const char *method) {
    size_t len = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return len > 0 && len < 16 && method[len] == '\0';
}

bool gate_http_is_value(struct gate_span value) {
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f) return false;
    return true;
}

static bool write_bytes(struct gate_pen *pen, struct gate_span bytes) {
    if (bytes.len > pen->room) return false;
    if (bytes.len) memcpy(pen->at, bytes.data, bytes.len);
    pen->at += bytes.len;
    pen->room -= bytes.len;
    return true;
}

bool gate_pen_header(struct gate_pen *pen, const char *name, struct gate_span value) {
    return write_bytes(pen, (struct gate_span){name, strlen(name)}) &&
           write_bytes(pen, GATE_SPAN(": ")) && write_bytes(pen, value) &&
           write_bytes(pen, GATE_SPAN("\r\n"));
}

/* ---- Time ------------------------------------------------------------------------------------ */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The number that these digits are; -1 when they are none. */
static int read_digits(const char *text, size_t count) {
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(text[i])) return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* From 1 for Jan; 0: no month. */
static int read_month(const char *text) {
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int month = 0; month < 12; month++)
        if (memcmp(names + month * 3, text, 3) == 0) return month + 1;
    return 0;
}

/* Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day
 * is a year's last. */
static int64_t count_days(int year, int month, int day) {
    int64_t y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

int64_t gate_http_date_s(struct gate_span text) {
    /* A digit stands at each 0, a letter at each a; everything else stands for itself. */
    static const char form[] = "aaa, 00 aaa 0000 00:00:00 GMT";
    if (text.len != FIXDATE_BYTES) return -1;
    for (size_t i = 0; i < FIXDATE_BYTES; i++) {
        if (form[i] == '0' && !is_digit(text.data[i])) return -1;
        if (form[i] != '0' && form[i] != 'a' && form[i] != text.data[i]) return -1;
    }
    int day = read_digits(text.data + 5, 2), month = read_month(text.data + 8);
    int year = read_digits(text.data + 12, 4), hour = read_digits(text.data + 17, 2);
    int minute = read_digits(text.data + 20, 2), second = read_digits(text.data + 23, 2);
    if (month == 0 || day < 1 || day > 31 || year < 1970) return -1;
    if (hour > 23 || minute > 59 || second > 60) return -1;
    return count_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

static struct gate_span trim(struct gate_span text) {
    while (text.len && text.data[0] == ' ') text = (struct gate_span){text.data + 1, text.len - 1};
    while (text.len && text.data[text.len - 1] == ' ') text.len--;
    return text;
}

/* -1: not of this form. */
static int64_t read_seconds_ms(struct gate_span text) {
    int64_t value = 0, divisor = 0; /* 0: still in front of the point */
    if (text.len == 0 || !is_digit(text.data[0])) return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '.' && divisor == 0) {
            divisor = 1;
        } else if (!is_digit(text.data[i])) {
            return -1;
        } else if (divisor < 1000 && value < INT64_MAX / 100000) {
            value = value * 10 + (text.data[i] - '0');
            divisor *= 10;
        }
    }
    return value * 1000 / (divisor ? divisor : 1);
}

int64_t gate_http_retry_after_ms(struct gate_span value, struct gate_span date, int64_t now_s) {
    value = trim(value);
    int64_t wait_ms = read_seconds_ms(value);
    if (wait_ms < 0) {
        int64_t until_s = gate_http_date_s(value), from_s = gate_http_date_s(trim(date));
        wait_ms = (until_s - (from_s < 0 ? now_s : from_s)) * 1000;
        if (until_s < 0) return 0;
    }
    if (wait_ms < 0) return 0;
    return wait_ms < GATE_RETRY_AFTER_MS_MAX ? wait_ms : GATE_RETRY_AFTER_MS_MAX;
}

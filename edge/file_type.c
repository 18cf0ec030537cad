/*  file_type.c - signatures in order, the first that fits; then the formats inside ZIP and RIFF, and
 *  text that says what it is. */
#include "file_type.h"

#include "utf8.h"

#include <strings.h>

typedef struct signature {
    uint32_t at, n;
    const char *bytes, *type;
} signature;

#define SIGN(at, bytes, type)                                                                      \
    {                                                                                              \
        (at), sizeof(bytes) - 1, (bytes), (type)                                                   \
    }

static const char zip[] = "application/zip";
static const char binary[] = "application/octet-stream";

static const signature signatures[] = {
    SIGN(0, "%PDF-", "application/pdf"),
    SIGN(0, "\x89PNG\r\n\x1a\n", "image/png"),
    SIGN(0, "\xff\xd8\xff", "image/jpeg"),
    SIGN(0, "GIF87a", "image/gif"),
    SIGN(0, "GIF89a", "image/gif"),
    SIGN(0, "II*\0", "image/tiff"),
    SIGN(0, "MM\0*", "image/tiff"),
    SIGN(0, "\0\0\1\0", "image/vnd.microsoft.icon"),
    SIGN(0, "8BPS\0\1", "image/vnd.adobe.photoshop"),
    SIGN(4, "ftypheic", "image/heic"),
    SIGN(4, "ftypheix", "image/heic"),
    SIGN(4, "ftypavif", "image/avif"),
    SIGN(4, "ftypM4A ", "audio/mp4"),
    SIGN(4, "ftypqt  ", "video/quicktime"),
    SIGN(4, "ftyp", "video/mp4"),
    SIGN(0, "\x1a\x45\xdf\xa3", "video/webm"),
    SIGN(0, "OggS\0", "application/ogg"),
    SIGN(0, "fLaC", "audio/flac"),
    SIGN(0, "ID3", "audio/mpeg"),
    SIGN(0, "\xff\xfb", "audio/mpeg"),
    SIGN(0, "\xff\xf3", "audio/mpeg"),
    SIGN(0, "MThd\0\0\0\6", "audio/midi"),
    SIGN(0, "PK\3\4", zip),
    SIGN(0, "PK\5\6", zip),
    SIGN(0, "\x1f\x8b\x08", "application/gzip"),
    SIGN(0, "BZh", "application/x-bzip2"),
    SIGN(0,
         "\xfd"
         "7zXZ\0",
         "application/x-xz"),
    SIGN(0, "\x28\xb5\x2f\xfd", "application/zstd"),
    SIGN(0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    SIGN(0, "Rar!\x1a\x07", "application/vnd.rar"),
    SIGN(257, "ustar", "application/x-tar"),
    SIGN(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    SIGN(0, "{\\rtf", "application/rtf"),
    SIGN(0, "%!PS", "application/postscript"),
    SIGN(0, "SQLite format 3\0", "application/vnd.sqlite3"),
    SIGN(0, "\0asm", "application/wasm"),
    SIGN(0,
         "\x7f"
         "ELF",
         "application/x-executable"),
    SIGN(0, "wOFF", "font/woff"),
    SIGN(0, "wOF2", "font/woff2"),
    SIGN(0, "\0\1\0\0\0", "font/ttf"),
    SIGN(0, "OTTO\0", "font/otf"),
};

static const signature riff[] = {
    SIGN(8, "WEBP", "image/webp"),
    SIGN(8, "WAVE", "audio/wav"),
    SIGN(8, "AVI ", "video/x-msvideo"),
};

/* The first entry of a package names its format, uncompressed. */
static const signature packages[] = {
    SIGN(38, "application/epub+zip", "application/epub+zip"),
    SIGN(38, "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    SIGN(38, "application/vnd.oasis.opendocument.spreadsheet",
         "application/vnd.oasis.opendocument.spreadsheet"),
    SIGN(38, "application/vnd.oasis.opendocument.presentation",
         "application/vnd.oasis.opendocument.presentation"),
};

/* Folders that an Office Open XML package has beside its list of contents. */
static const struct {
    const char *folder, *type;
} offices[] = {
    {"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
};

static bool has_at(sv_str s, uint32_t at, const char *bytes, uint32_t n)
{
    return s.n >= at && s.n - at >= n && memcmp(s.p + at, bytes, n) == 0;
}

static const char *find(const signature *list, size_t n, sv_str head)
{
    for (size_t i = 0; i < n; i++)
        if (has_at(head, list[i].at, list[i].bytes, list[i].n)) return list[i].type;
    return NULL;
}

static const char *zip_type(sv_str head)
{
    const char *type = find(packages, sizeof packages / sizeof *packages, head);
    if (type) return type;
    if (!has_at(head, 30, "[Content_Types].xml", 19) && !has_at(head, 30, "_rels/", 6)) return zip;
    for (size_t i = 0; i < sizeof offices / sizeof *offices; i++)
        if (memmem(head.p, head.n, offices[i].folder, strlen(offices[i].folder)))
            return offices[i].type;
    return zip;
}

/* UTF-8 without the control characters that text has no use for. The last character may be cut. */
static bool is_text(sv_str head, bool whole)
{
    const uint8_t *p = (const uint8_t *)head.p;
    for (size_t i = 0; i < head.n;) {
        size_t n = utf8_sequence(p + i, head.n - i);
        if (n == 0) return !whole && i > 0 && p[i] >= 0xc2 && head.n - i < 4;
        bool blank = (p[i] >= '\t' && p[i] <= '\r') || p[i] == 0x1b;
        if ((p[i] < ' ' && !blank) || p[i] == 0x7f) return false;
        i += n;
    }
    return head.n > 0;
}

static bool begins(sv_str text, const char *word)
{
    uint32_t n = (uint32_t)strlen(word);
    return text.n >= n && strncasecmp(text.p, word, n) == 0;
}

static const char *text_type(sv_str text)
{
    if (begins(text, "\xef\xbb\xbf")) text = (sv_str){text.p + 3, text.n - 3};
    while (text.n && (text.p[0] == ' ' || (text.p[0] >= '\t' && text.p[0] <= '\r')))
        text = (sv_str){text.p + 1, text.n - 1};
    if (begins(text, "<!doctype html") || begins(text, "<html")) return "text/html";
    if (begins(text, "<svg")) return "image/svg+xml";
    if (begins(text, "<?xml"))
        return memmem(text.p, text.n, "<svg", 4) ? "image/svg+xml" : "application/xml";
    return "text/plain";
}

const char *file_type_of(sv_str head, bool whole)
{
    if (head.n > FILE_TYPE_LOOK) {
        head.n = FILE_TYPE_LOOK;
        whole = false;
    }
    const char *type = find(signatures, sizeof signatures / sizeof *signatures, head);
    if (type == NULL && has_at(head, 0, "RIFF", 4))
        type = find(riff, sizeof riff / sizeof *riff, head);
    if (type == zip) return zip_type(head);
    if (type) return type;
    return is_text(head, whole) ? text_type(head) : binary;
}

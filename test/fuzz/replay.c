/* test/fuzz/replay.c - runs a fuzz target over files, without libFuzzer.
 *
 * usage: replay FILE|DIRECTORY...   Directories are read one level deep.
 * Each input is also replayed cut at every length (up to 512 bytes in), so a
 * corpus doubles as a truncation test.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    static uint8_t data[1 << 20];
    size_t len = fread(data, 1, sizeof(data), f);
    fclose(f);

    size_t step_max = len < 512 ? len : 512;
    for (size_t cut = 0; cut <= step_max; cut++) {
        size_t n = cut == step_max ? len : cut;
        /* An exact-size copy, so that ASan sees a read past the end. */
        uint8_t *copy = malloc(n ? n : 1);
        if (!copy)
            return 1;
        memcpy(copy, data, n);
        LLVMFuzzerTestOneInput(copy, n);
        free(copy);
    }
    inputs++;
    return 0;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    DIR *d = opendir(path);
    if (!d) {
        perror(path);
        return 1;
    }
    int bad = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        bad |= run_file(name);
    }
    closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = argc < 2;
    for (int i = 1; i < argc; i++)
        bad |= run_path(argv[i]);
    printf("%zu inputs replayed\n", inputs);
    return bad || inputs == 0;
}

// The C interface from C++17: a guard class, exceptions from codes.
#include <mapshare.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

class Region {
public:
    Region(const char *path, const mapshare_options &options) {
        check(mapshare_open(path, &options, sizeof options, &region_));
    }
    Region(Region &&other) noexcept : region_(std::exchange(other.region_, nullptr)) {}
    Region(const Region &) = delete;
    Region &operator=(const Region &) = delete;
    ~Region() { mapshare_unmap(region_); }

    void write(std::uint64_t offset, const std::string &text) { check(mapshare_write(region_, offset, text.data(), text.size())); }
    std::string read(std::uint64_t offset, std::size_t length) {
        std::string text(length, '?');
        check(mapshare_read(region_, offset, text.data(), length));
        return text;
    }

private:
    static void check(int result) {
        if (result < 0) throw std::runtime_error(mapshare_last_error());
    }
    mapshare_region *region_ = nullptr;
};

int main() {
    mapshare_options options{};
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = 4096;
    try {
        Region first("file", options);
        Region moved(std::move(first));
        moved.write(4091, "hello");
        Region second("file", mapshare_options{});
        if (second.read(4091, 5) != "hello") return 1;
        try {
            second.read(4092, 5);
            return 2;
        } catch (const std::runtime_error &error) {
            if (std::strstr(error.what(), "(ERANGE)") == nullptr) return 3;
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 4;
    }
    return 0;
}

/** A whole web server in one file, for images that have nothing else: it answers with the file that is asked for. */
export const SERVER_C = `#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
  int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8080)};
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(server, (void *)&at, sizeof at) || listen(server, 16)) return 1;
  for (;;) {
    static char text[65536];
    char line[4096], path[2048] = "";
    int client = accept(server, 0, 0);
    ssize_t got = read(client, line, sizeof line - 1);
    line[got > 0 ? got : 0] = 0;
    sscanf(line, "%*s %2047s", path);
    int file = open(path, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text);
    dprintf(client, "HTTP/1.1 %s\\r\\nContent-Length: %zd\\r\\nConnection: close\\r\\n\\r\\n",
            length < 0 ? "404 Not Found" : "200 OK", length < 0 ? 0 : length);
    if (length > 0) got = write(client, text, length);
    if (file >= 0) close(file);
    shutdown(client, SHUT_WR);
    while (read(client, line, sizeof line) > 0);
    close(client);
  }
}
`

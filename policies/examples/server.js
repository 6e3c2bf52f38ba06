// Answers HTTP requests: what a server needs that is to be stopped without cutting anybody off, and nothing else.
//
//   GET /          "hello", a greeting and how many it has greeted
//   GET /slow?MS   the same, after so many milliseconds (1000 if none are given): work to be in flight
//
// Two things make it well-behaved. On SIGTERM it takes no more connections, tells those that are open that it will close
// them (Connection: close), and ends with status 0 when the last request is answered. And it never ends by itself: what goes
// wrong in one request is that request's affair.
//
// environment: PORT (default 3000), HOST (default 127.0.0.1)

'use strict';
const http = require('http');

let greeted = 0;
let stopping = false;

const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const wait = url.pathname === '/slow' ? Number(url.search.slice(1) || 1000) : 0;
    if (url.pathname !== '/' && url.pathname !== '/slow') {
        response.writeHead(404);
        response.end('not here\n');
        return;
    }
    setTimeout(() => {
        if (stopping) response.setHeader('Connection', 'close');
        response.end(`hello, you are number ${++greeted}\n`);
    }, wait);
});

server.listen(Number(process.env.PORT || 3000), process.env.HOST || '127.0.0.1', () => {
    console.log(`listening on port ${server.address().port}`);
});

process.on('SIGTERM', () => {
    stopping = true;
    server.close(() => {
        console.log(`stopped after ${greeted} greetings`);
        process.exit(0);
    });
    server.closeIdleConnections(); // keep-alive, nobody waits for an answer on them
});

<?php
declare(strict_types=1);

spl_autoload_register(fn (string $class) => require __DIR__ . '/../src/' . $class . '.php');

header('Content-Type: application/json');
error_log('asked for ' . $_SERVER['REQUEST_URI']);
echo json_encode([
    'greeting' => (new Greeter())->greet($_GET['name'] ?? 'world'),
    'config' => json_decode(file_get_contents(__DIR__ . '/../var/cache/config.json')),
    'user' => posix_getpwuid(posix_geteuid())['name'],
    'directory' => getcwd(),
]);

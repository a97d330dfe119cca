<?php
declare(strict_types=1);

final class Greeter
{
    public function greet(string $name): string
    {
        return 'Hello, ' . htmlspecialchars($name);
    }
}

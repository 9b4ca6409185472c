<?php
// PHP's curl. `php php.php KEEP_SECS URLS LANES REQUESTS GAPS BODY`; the lanes, and what is printed, are
// described in trial.rs. KEEP_SECS is CURLOPT_MAXAGE_CONN, 0 for the default.

const STAGGER_MICROS = 4000;

[, $keep_secs, $urls, $lanes, $requests_each, $gaps, $body] = $argv;
$urls = explode(",", $urls);
$gaps_millis = array_map("intval", explode(",", $gaps));

/** Sends requests with one handle, which reuses its connection. Writes a line for each request. */
function run_lane(int $lane, $writer): void
{
    global $keep_secs, $urls, $requests_each, $gaps_millis, $body;
    usleep($lane * STAGGER_MICROS);
    $handle = curl_init($urls[$lane % count($urls)]);
    curl_setopt_array($handle, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_NOPROXY => "*",
        CURLOPT_TIMEOUT => 20,
    ]);
    if (getenv("SSL_CERT_FILE") !== false) {
        curl_setopt($handle, CURLOPT_CAINFO, getenv("SSL_CERT_FILE"));
    }
    if ((int) $keep_secs > 0) {
        curl_setopt($handle, CURLOPT_MAXAGE_CONN, (int) $keep_secs);
    }
    $late_millis = 0;
    for ($request = 0; $request < (int) $requests_each; $request++) {
        $gap_millis = $request > 0 ? $gaps_millis[($lane + $request) % count($gaps_millis)] : 0;
        $due_millis = 1000 * microtime(true) + $gap_millis;
        usleep(1000 * $gap_millis);
        $late_millis = max($late_millis, (int) (1000 * microtime(true) - $due_millis));
        $text = curl_exec($handle);
        $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
        $line = $status === 200 && $text === $body ? "" : "$status " . curl_error($handle);
        // Each short line is one write, so lines of several processes do not mix.
        fwrite($writer, str_replace("\n", " ", $line) . "\n");
    }
    fwrite($writer, "late $late_millis\n");
}

// One process for each lane.
[$reader, $writer] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
for ($lane = 0; $lane < (int) $lanes; $lane++) {
    if (pcntl_fork() === 0) {
        run_lane($lane, $writer);
        exit(0);
    }
}
fclose($writer);
$answered = 0;
$late_millis = 0;
$errors = [];
while (($line = fgets($reader)) !== false) {
    $line = rtrim($line, "\n");
    if (str_starts_with($line, "late ")) {
        $late_millis = max($late_millis, (int) substr($line, 5));
    } elseif ($line === "") {
        $answered++;
    } else {
        $errors[$line] = ($errors[$line] ?? 0) + 1;
    }
}
echo "version=PHP ", PHP_VERSION, ", libcurl ", curl_version()["version"], "\n";
foreach ($errors as $text => $count) {
    echo "error=$count $text\n";
}
echo "late=$late_millis\n";
echo "answered=$answered lost=", array_sum($errors), "\n";

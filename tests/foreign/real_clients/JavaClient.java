import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * java JavaClient.java HttpURLConnection|HttpClient URLS LANES REQUESTS GAPS BODY
 *
 * The arguments after the first are those of trial.rs. HttpURLConnection keeps one pool for the
 * process, and all lanes use one HttpClient, so each lane needs its own origin.
 */
public class JavaClient {
    static final int STAGGER_MILLIS = 4;
    static final int TIMEOUT_MILLIS = 20_000;

    interface Client {
        /** Returns the body of a 200, or throws. */
        String fetch(String url) throws Exception;
    }

    static int answered = 0;
    static final Map<String, Integer> errors = new TreeMap<>();

    public static void main(String[] arguments) throws Exception {
        if (System.getenv("SSL_CERT_FILE") != null) {
            trust(System.getenv("SSL_CERT_FILE"));
        }
        Client client =
                arguments[0].equals("HttpClient") ? httpClient() : JavaClient::urlConnection;
        String[] urls = arguments[1].split(",");
        int lanes = Integer.parseInt(arguments[2]);
        int requests = Integer.parseInt(arguments[3]);
        int[] gaps = Stream.of(arguments[4].split(",")).mapToInt(Integer::parseInt).toArray();
        String body = arguments[5];

        List<Thread> running = new ArrayList<>();
        for (int lane = 0; lane < lanes; lane++) {
            int number = lane;
            String url = urls[lane % urls.length];
            Thread thread = new Thread(() -> {
                for (int request = 0; request < requests; request++) {
                    if (request > 0) {
                        sleep(gaps[(number + request) % gaps.length]);
                    }
                    ask(client, url, body);
                }
            });
            thread.start();
            running.add(thread);
            sleep(STAGGER_MILLIS);
        }
        for (Thread thread : running) {
            thread.join();
        }

        System.out.println("version=" + System.getProperty("java.runtime.version"));
        errors.forEach((text, count) -> System.out.println("error=" + count + " " + text));
        int lost = errors.values().stream().mapToInt(count -> count).sum();
        System.out.println("answered=" + answered + " lost=" + lost);
        System.exit(0);
    }

    /** Trusts the certificate in this file, and no other. */
    static void trust(String file) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream certificate = new FileInputStream(file)) {
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            trusted.setCertificateEntry("authority", factory.generateCertificate(certificate));
        }
        TrustManagerFactory managers =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        SSLContext.setDefault(context);
    }

    static void ask(Client client, String url, String body) {
        String error = null;
        try {
            if (!client.fetch(url).equals(body)) {
                error = "another body";
            }
        } catch (Exception thrown) {
            error = thrown.toString();
        }
        synchronized (errors) {
            if (error == null) {
                answered += 1;
            } else {
                errors.merge(error, 1, Integer::sum);
            }
        }
    }

    static String urlConnection(String url) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setConnectTimeout(TIMEOUT_MILLIS);
        connection.setReadTimeout(TIMEOUT_MILLIS);
        check(connection.getResponseCode());
        try (InputStream body = connection.getInputStream()) {
            return new String(body.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    static Client httpClient() {
        HttpClient client = HttpClient.newHttpClient();
        return url -> {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
            HttpResponse<String> response =
                    client.send(request, HttpResponse.BodyHandlers.ofString());
            check(response.statusCode());
            return response.body();
        };
    }

    static void check(int status) throws IOException {
        if (status != 200) {
            throw new IOException("status " + status);
        }
    }

    static void sleep(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException nobodyInterrupts) {
            throw new IllegalStateException(nobodyInterrupts);
        }
    }
}

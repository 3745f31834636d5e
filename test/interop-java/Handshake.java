import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * Shakes hands as an application on Java would: each line of standard input is the file of a root, a port
 * on this host, and the name or address that the server must have. Answers "ok" or the reason against it.
 */
class Handshake {
  public static void main(String[] args) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      System.out.println(answer(words[0], Integer.parseInt(words[1]), words[2]));
    }
  }

  private static String answer(String rootFile, int port, String host) {
    try (Socket plain = new Socket("127.0.0.1", port)) {
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, trusting(rootFile).getTrustManagers(), null);
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, host, port, true);
      SSLParameters parameters = socket.getSSLParameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      socket.setSSLParameters(parameters);
      socket.startHandshake();
      return "ok";
    } catch (Exception error) {
      Throwable cause = error;
      while (cause.getCause() != null) cause = cause.getCause();
      return "refused: " + cause.getMessage();
    }
  }

  private static TrustManagerFactory trusting(String rootFile) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (FileInputStream in = new FileInputStream(rootFile)) {
      for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(in))
        store.setCertificateEntry("root-" + store.size(), root);
    }
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(store);
    return factory;
  }
}

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Executors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Confluent Parallel Consumer: one thread a record, ordered by key, offsets committed now and then. */
public final class ParallelConsumerContender {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int CONCURRENCY = 100;

    public static void main(String[] arguments) throws Exception {
        JsonNode task = JSON.readTree(arguments[0]);
        String text = "org.apache.kafka.common.serialization.";
        Properties reading = new Properties();
        reading.put("bootstrap.servers", task.get("kafka").asText());
        reading.put("group.id", task.get("group").asText());
        reading.put("enable.auto.commit", "false");
        reading.put("auto.offset.reset", "earliest");
        reading.put("session.timeout.ms", "6000");
        reading.put("key.deserializer", text + "StringDeserializer");
        reading.put("value.deserializer", text + "StringDeserializer");
        Properties writing = new Properties();
        writing.put("bootstrap.servers", task.get("kafka").asText());
        writing.put("linger.ms", "2");
        writing.put("key.serializer", text + "StringSerializer");
        writing.put("value.serializer", text + "StringSerializer");

        HttpClient vendor = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1)
            .executor(Executors.newFixedThreadPool(2)).build();
        URI address = URI.create(task.get("vendor").asText() + "/");
        String results = task.get("results").asText();
        ParallelConsumerOptions<String, String> options = ParallelConsumerOptions.<String, String>builder()
            .ordering(ProcessingOrder.KEY)
            .maxConcurrency(CONCURRENCY)
            .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .consumer(new KafkaConsumer<>(reading))
            .producer(new KafkaProducer<>(writing))
            .build();
        ParallelStreamProcessor<String, String> processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(task.get("topic").asText()));
        processor.pollAndProduce(context -> {
            try {
                JsonNode hire = JSON.readTree(context.getSingleConsumerRecord().value());
                JsonNode data = hire.get("data");
                ObjectNode describe = JSON.createObjectNode()
                    .put("SdkAppId", 1400000000).put("ExtensionId", data.get("extension").asText());
                ObjectNode create = describe.deepCopy()
                    .put("ExtensionName", data.get("name").asText()).put("Relation", data.get("email").asText());
                send(vendor, address, "CreateExtension", create);
                JsonNode answer = send(vendor, address, "DescribeExtension", describe);
                ObjectNode result = JSON.createObjectNode().put("id", hire.get("id").asText())
                    .put("request_id", answer.get("Response").get("RequestId").asText());
                return new ProducerRecord<>(results, context.getSingleConsumerRecord().key(), result.toString());
            } catch (Exception trouble) {
                throw new RuntimeException(trouble);
            }
        });
    }

    private static JsonNode send(HttpClient vendor, URI address, String action, ObjectNode body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(address).header("X-TC-Action", action)
            .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
        return JSON.readTree(vendor.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
